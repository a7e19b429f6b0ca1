//! What a request pays for going through the mesh: each layer over a bare router, several of them, all of them.
//!
//! `cargo bench --bench stack`. Every group begins with what it is to be compared with, and all of a group runs in one process, so that
//! ratios hold where absolute figures drift. Nothing waits and nothing is sent: a request is made, goes in, and its answer is read to the
//! end; the first line of the first group is what that costs without any mesh.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "a bench may panic, and criterion's macros make undocumented items"
)]

mod fixture;

use std::convert::Infallible;
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_mesh::context::{self, Exchange, Peer};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::metrics::{ClientMetricsLayer, MetricsLayer, Registry};
use tower_mesh::policy::Engine;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Issuer;

use fixture::{Fixture, Head, HyperBody, NOT_SAMPLED, send, workload};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What the composed mesh is made of, apart.
struct Layers {
    engine: Live<Engine>,
    authenticator: Live<Authenticator>,
    propagation: Propagation,
    metrics: MetricsLayer,
}

impl Layers {
    fn new(fixture: &Fixture) -> Self {
        let engine = fixture.mesh(|builder| builder).engine();
        Self {
            authenticator: Live::new(authenticator(&engine)),
            engine: Live::new(engine),
            propagation: Propagation::new().workload(&workload()),
            metrics: MetricsLayer::new(Registry::new().server(&workload())),
        }
    }

    fn jwt(&self) -> JwtLayer {
        JwtLayer::new(self.authenticator.clone())
    }

    fn rbac(&self) -> RbacLayer {
        RbacLayer::new(self.engine.clone()).in_front_of_router()
    }
}

fn authenticator(engine: &Engine) -> Authenticator {
    let rules = &engine.program().authentication.default;
    Authenticator::compile(rules, &mut Keyring::new()).unwrap()
}

/// Tells each request who its peer is, as the acceptor's connection does for layers that stand alone.
#[derive(Clone)]
struct Known<S>(S, Peer);

impl<S, B> Service<Request<B>> for Known<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.1.clone());
        self.0.call(request)
    }
}

/// Does nothing: what a layer costs for being one.
#[derive(Clone)]
struct Nothing<S>(S);

impl<S, R> Service<R> for Nothing<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

/// Takes spans and forgets them.
#[derive(Debug)]
struct Forget;

impl SpanSink for Forget {
    fn export(&self, span: FinishedSpan) {
        black_box(span);
    }
}

fn through<S, B>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, head: &Head, mut service: S)
where
    S: Service<Request<HyperBody>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    assert_eq!(send(&mut service, head.request()), 200, "{name}");
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || head.request(),
            |request| send(&mut service, request),
            BatchSize::SmallInput,
        );
    });
}

/// P-1: the whole inbound stack over a bare router, composed and as layers of their own.
fn inbound(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let layers = Layers::new(&fixture);
    let mesh = fixture.mesh(|builder| builder);
    let (head, peer) = (&fixture.head, &fixture.peer);
    let router = fixture::router;
    let known = |service| Known(service, peer.clone());

    let mut group = criterion.benchmark_group("inbound");
    through(&mut group, "bare router", head, router());
    through(
        &mut group,
        "whole, composed",
        head,
        mesh.protect(router()).of(peer.clone()),
    );
    let nested = layers.jwt().layer(layers.rbac().layer(router()));
    let nested = layers
        .propagation
        .server_layer()
        .layer(layers.metrics.layer(nested));
    through(
        &mut group,
        "whole, separate layers",
        head,
        Known(nested, peer.clone()),
    );
    through(&mut group, "peer alone", head, known(router()));
    through(
        &mut group,
        "propagation alone",
        head,
        layers.propagation.server_layer().layer(router()),
    );
    through(
        &mut group,
        "metrics alone",
        head,
        layers.metrics.layer(router()),
    );
    through(
        &mut group,
        "jwt alone, seen token",
        head,
        layers.jwt().layer(router()),
    );
    // The request's policy asks for the token, so this one has the jwt guard's work in it: subtract that.
    let guarded = layers.jwt().layer(layers.rbac().layer(router()));
    through(
        &mut group,
        "jwt and rbac",
        head,
        Known(guarded, peer.clone()),
    );
    through(
        &mut group,
        "five that do nothing",
        head,
        Nothing(Nothing(Nothing(Nothing(Nothing(router()))))),
    );
    let boxed = (0..5).fold(router(), |router: Router, _| {
        router.layer(tower::layer::layer_fn(Nothing))
    });
    through(
        &mut group,
        "five that do nothing, each by Router::layer",
        head,
        boxed,
    );
    group.finish();
}

/// P-9: propagation and its server span over a service that answers at once.
fn propagation(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let token = fixture::token(&fixture.issuer, 0);
    let (quiet, loud) = (Head::new(&token, NOT_SAMPLED), Head::new(&token, SAMPLED));
    let bare = Head::of(&[("host", "patients.default")]);
    let plain = Propagation::new().workload(&workload());
    let recording = plain.clone().export_to(Forget);
    let known = |service| Known(service, fixture.peer.clone());

    let mut group = criterion.benchmark_group("propagation");
    through(&mut group, "nothing", &quiet, known(answer()));
    let span = |propagation: &Propagation| {
        Known(
            propagation.server_layer().layer(answer()),
            fixture.peer.clone(),
        )
    };
    through(&mut group, "unsampled", &quiet, span(&plain));
    through(&mut group, "unsampled, no id came", &bare, span(&plain));
    through(&mut group, "sampled", &loud, span(&recording));
    group.finish();
}

/// P-11: the client's layers over a client that answers at once, inside a request that is being handled.
fn outbound(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let head = Head::of(&[("host", "records.default"), ("accept", "*/*")]);
    let mut inbound = fixture.head.request();
    let exchange = Exchange::of(inbound.extensions_mut());
    let propagation = Propagation::new().workload(&workload());
    let _span = propagation.begin(&mut inbound, &exchange, SystemTime::now());
    let _handling = context::Scope::enter(exchange);
    let metrics = ClientMetricsLayer::new(Registry::new().client(&workload()));

    let mut group = criterion.benchmark_group("outbound");
    through(&mut group, "bare client", &head, client(&fixture.peer));
    through(
        &mut group,
        "propagation and metrics",
        &head,
        propagation
            .client_layer()
            .layer(metrics.layer(client(&fixture.peer))),
    );
    group.finish();
}

fn answer<B>()
-> impl Service<Request<B>, Response = Response<Full<bytes::Bytes>>, Error = Infallible> {
    tower::service_fn(|_| {
        let response = Response::new(Full::<bytes::Bytes>::from("answer"));
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

/// A client that says who answered, as that of the mesh does.
fn client<B>(
    peer: &Peer,
) -> impl Service<Request<B>, Response = Response<Full<bytes::Bytes>>, Error = Infallible> {
    let peer = peer.clone();
    tower::service_fn(move |_| {
        let mut response = Response::new(Full::<bytes::Bytes>::from("answer"));
        response.extensions_mut().insert(peer.clone());
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

/// P-7: a token that was good before.
fn seen_tokens(criterion: &mut Criterion) {
    let issuer = Issuer::es256("https://issuer.example");
    let engine = engine(&issuer);
    let mut group = criterion.benchmark_group("jwt, seen");
    for count in [1, 4_096] {
        let authenticator = authenticator(&engine);
        let heads = heads(&issuer, count);
        let (now, exchange) = (SystemTime::now(), Exchange::default());
        let mut parts: Vec<_> = heads
            .iter()
            .map(|head| head.request().into_parts().0)
            .collect();
        for head in &mut parts {
            authenticator.authenticate(head, &exchange, now).unwrap();
        }
        let mut next = 0;
        group.bench_function(format!("of {count}"), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % count;
                authenticator
                    .authenticate(&mut parts[next], &exchange, now)
                    .is_ok()
            });
        });
    }
    group.finish();
}

/// P-6: a token at first sight, beside its signature alone with a key that is parsed.
fn new_tokens(criterion: &mut Criterion) {
    for (name, issuer) in [
        ("ES256", Issuer::es256("https://issuer.example")),
        ("RS256", Issuer::rs256("https://issuer.example")),
        ("EdDSA", Issuer::eddsa("https://issuer.example")),
    ] {
        const TOKENS: usize = 1_000;
        let engine = engine(&issuer);
        let key = key(&issuer);
        let tokens: Vec<_> = (0..TOKENS)
            .map(|number| fixture::token(&issuer, number))
            .collect();
        let mut group = criterion.benchmark_group(format!("jwt, {name}"));
        let mut next = 0;
        let signed: Vec<_> = tokens
            .iter()
            .map(|token| token.rsplit_once('.').unwrap())
            .collect();
        let signed: Vec<_> = signed
            .iter()
            .map(|(text, signature)| (text, URL_SAFE_NO_PAD.decode(signature).unwrap()))
            .collect();
        group.bench_function("signature", |bencher| {
            bencher.iter(|| {
                next = (next + 1) % TOKENS;
                let (text, signature) = &signed[next];
                key.verify_sig(text.as_bytes(), signature).unwrap();
            });
        });
        group.bench_function("first sight", |bencher| {
            bencher.iter_custom(|iterations| {
                let (now, exchange) = (SystemTime::now(), Exchange::default());
                let mut took = Duration::ZERO;
                let mut left = usize::try_from(iterations).unwrap();
                while left > 0 {
                    // Each round begins with a memory of no token.
                    let authenticator = authenticator(&engine);
                    let round = left.min(TOKENS);
                    let mut parts: Vec<_> = tokens[..round]
                        .iter()
                        .map(|token| Head::new(token, NOT_SAMPLED).request().into_parts().0)
                        .collect();
                    let started = Instant::now();
                    for head in &mut parts {
                        authenticator.authenticate(head, &exchange, now).unwrap();
                    }
                    took += started.elapsed();
                    left -= round;
                }
                took
            });
        });
        group.finish();
    }
}

fn engine(issuer: &Issuer) -> Engine {
    Engine::builder(&workload())
        .yaml(&fixture::policies(issuer))
        .build()
        .unwrap()
}

fn heads(issuer: &Issuer, count: usize) -> Vec<Head> {
    (0..count)
        .map(|number| Head::new(&fixture::token(issuer, number), NOT_SAMPLED))
        .collect()
}

fn key(issuer: &Issuer) -> ParsedPublicKey {
    let jwk = issuer.jwk();
    let bytes = |member: &str| {
        URL_SAFE_NO_PAD
            .decode(jwk[member].as_str().unwrap())
            .unwrap()
    };
    match jwk["kty"].as_str().unwrap() {
        "RSA" => RsaPublicKeyComponents {
            n: bytes("n"),
            e: bytes("e"),
        }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .unwrap(),
        "EC" => {
            let point = [&[4][..], &bytes("x"), &bytes("y")].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
        }
        _ => ParsedPublicKey::new(&ED25519, bytes("x")).unwrap(),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = inbound, propagation, outbound, seen_tokens, new_tokens
}
criterion_main!(benches);
