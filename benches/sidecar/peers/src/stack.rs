//! The layers that Rust users put together by hand today.
use crate::app::Principal;
use crate::{genkeys, rbac};
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use casbin::CoreApi;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Clone, Deserialize)]
#[allow(dead_code)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub exp: u64,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

pub struct Jwt {
    keys: HashMap<String, (DecodingKey, Validation)>,
}

impl Jwt {
    pub fn load(dir: &std::path::Path) -> Self {
        let set: jsonwebtoken::jwk::JwkSet =
            serde_json::from_str(&std::fs::read_to_string(dir.join("jwks.json")).unwrap()).unwrap();
        let mut v = Validation::new(Algorithm::RS256);
        v.set_issuer(&[genkeys::ISSUER]);
        v.set_audience(&[genkeys::AUDIENCE]);
        let keys = set
            .keys
            .iter()
            .map(|k| (k.common.key_id.clone().unwrap(), (DecodingKey::from_jwk(k).unwrap(), v.clone())))
            .collect();
        Jwt { keys }
    }
    pub fn check(&self, token: &str) -> Option<Claims> {
        let h = jsonwebtoken::decode_header(token).ok()?;
        let (key, v) = self.keys.get(h.kid.as_deref()?)?;
        Some(jsonwebtoken::decode::<Claims>(token, key, v).ok()?.claims)
    }
}

async fn jwt_guard(State(jwt): State<Arc<Jwt>>, mut req: Request, next: Next) -> Response {
    let token = req.headers().get(header::AUTHORIZATION).and_then(|h| h.to_str().ok()).and_then(|h| h.strip_prefix("Bearer "));
    match token.and_then(|t| jwt.check(t)) {
        Some(claims) => {
            req.extensions_mut().insert(Arc::new(claims));
            next.run(req).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A layer that does nothing, without a box: the floor for any tower layer.
#[derive(Clone)]
struct Noop<S>(S);
impl<S: tower::Service<Request>> tower::Service<Request> for Noop<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;
    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, req: Request) -> S::Future {
        self.0.call(req)
    }
}

#[derive(Clone)]
struct NoopLayer;
impl<S> tower::Layer<S> for NoopLayer {
    type Service = Noop<S>;
    fn layer(&self, s: S) -> Noop<S> {
        Noop(s)
    }
}

async fn noop_fn(req: Request, next: Next) -> Response {
    next.run(req).await
}

fn subject(req: &Request) -> Option<String> {
    if let Some(p) = req.extensions().get::<Principal>() {
        return Some(p.0.to_string());
    }
    let c = req.extensions().get::<Arc<Claims>>()?;
    Some(format!("spiffe://cluster.local/ns/default/sa/{}", c.sub))
}

async fn casbin_guard(State(e): State<Arc<casbin::Enforcer>>, req: Request, next: Next) -> Response {
    let ok = subject(&req)
        .is_some_and(|s| e.enforce((s.as_str(), req.uri().path(), req.method().as_str())).unwrap_or(false));
    if ok { next.run(req).await } else { StatusCode::FORBIDDEN.into_response() }
}

async fn cedar_guard(State(c): State<Arc<rbac::Cedar>>, req: Request, next: Next) -> Response {
    let ok = subject(&req).is_some_and(|s| c.allowed(&s, req.method().as_str(), req.uri().path()));
    if ok { next.run(req).await } else { StatusCode::FORBIDDEN.into_response() }
}

#[derive(Debug)]
struct NoopExporter;
impl SpanExporter for NoopExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        std::hint::black_box(batch.len());
        Ok(())
    }
}

pub fn tracer_provider(sampling: &str) -> SdkTracerProvider {
    let root = match sampling {
        "always" => Sampler::AlwaysOn,
        "never" => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio.parse().expect("never, always or a ratio")),
    };
    let batch = BatchSpanProcessor::builder(NoopExporter)
        .with_batch_config(BatchConfigBuilder::default().with_max_queue_size(65_536).build())
        .build();
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_span_processor(batch)
        .build()
}

/// A careful set-up: each tracing layer only sees the spans that it needs.
pub fn init_tracing(sampling: &str, with: &HashSet<String>) -> SdkTracerProvider {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = tracer_provider(sampling);
    opentelemetry::global::set_tracer_provider(provider.clone());
    let otel = with.iter().any(|w| w == "otel" || w == "tower-otel").then(|| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("peers"))
            .with_filter(Targets::new().with_target("otel::tracing", Level::TRACE).with_target("tower_otel", Level::TRACE))
    });
    let log = with.contains("log").then(|| {
        let sink = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(sink))
            .with_filter(Targets::new().with_target("tower_http", Level::INFO))
    });
    tracing_subscriber::registry().with(otel).with(log).init();
    provider
}

/// Puts the layers of this list around a router.
pub fn layers(mut r: Router, with: &HashSet<String>, dir: &std::path::Path, policies: usize) -> Router {
    let has = |f: &str| with.contains(f);
    if has("noop-fn") {
        r = r.layer(middleware::from_fn(noop_fn));
    }
    if has("noop-layer") {
        r = r.layer(NoopLayer);
    }
    if has("noop-5-layers") {
        r = r.layer(NoopLayer).layer(NoopLayer).layer(NoopLayer).layer(NoopLayer).layer(NoopLayer);
    }
    if has("noop-5-in-one") {
        r = r.layer((NoopLayer, NoopLayer, NoopLayer, NoopLayer, NoopLayer));
    }
    if has("casbin") {
        r = r.layer(middleware::from_fn_with_state(Arc::new(rbac::casbin_enforcer(policies)), casbin_guard));
    }
    if has("cedar") {
        r = r.layer(middleware::from_fn_with_state(Arc::new(rbac::Cedar::new(policies)), cedar_guard));
    }
    if has("jwt") {
        r = r.layer(middleware::from_fn_with_state(Arc::new(Jwt::load(dir)), jwt_guard));
    }
    if has("prom") {
        let (layer, handle) = axum_prometheus::PrometheusMetricLayer::pair();
        r = r.route("/metrics", get(|| async move { handle.render() })).layer(layer);
    }
    if has("otel-metrics") {
        let meter = opentelemetry::global::meter("peers");
        r = r.layer(tower_otel::metrics::HttpLayer::server(&meter));
    }
    if has("otel") {
        r = r.layer(axum_tracing_opentelemetry::middleware::OtelAxumLayer::default());
    }
    if has("tower-otel") {
        r = r.layer(tower_otel::trace::HttpLayer::server(Level::INFO));
    }
    if has("log") || has("trace") {
        r = r.layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        );
    }
    if has("reqid") {
        r = r.layer(PropagateRequestIdLayer::x_request_id()).layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));
    }
    r
}
