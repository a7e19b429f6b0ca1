//! The lines of requests, through meshes over sockets.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{Notify, mpsc};
use tower_mesh::access_log::{AccessLog, Filter, Side, Sink};
use tower_mesh::mesh::ClientBody;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, MeshBuilder, Workload};
use tracing::Level;

use super::Lines;
use crate::support::log::Log;
use crate::support::mesh::{
    Fed, ISSUER, app, build, caller, empty, http1, http2, lines, policy, read, serve,
};

fn logs(builder: MeshBuilder, log: AccessLog) -> MeshBuilder {
    builder.telemetry(|telemetry| telemetry.access_log(log))
}

async fn panics() -> &'static str {
    panic!("a handler panics")
}

/// A body that never ends, and one that fails once its beginning is heard.
fn routes(heard: &Arc<Notify>) -> Router {
    let heard = Arc::clone(heard);
    let endless = || async {
        let (frames, fed) = mpsc::unbounded_channel();
        let frame = Frame::data(Bytes::from_static(b"begun"));
        frames.send(frame).unwrap();
        std::mem::forget(frames);
        Body::new(Fed(fed))
    };
    let broken = || async move {
        let (frames, fed) = mpsc::unbounded_channel();
        frames
            .send(Frame::data(Bytes::from_static(b"some")))
            .unwrap();
        let body = Failing {
            inner: Fed(fed),
            heard: Box::pin(async move { heard.notified().await }),
            _frames: frames,
        };
        Body::new(body)
    };
    Router::new()
        .route(
            "/ok",
            any(|body: String| async move { format!("read {body}") }),
        )
        .route("/panic", any(panics))
        .route("/endless", get(endless))
        .route("/broken", get(broken))
        .route("/late", get(std::future::pending::<&str>))
        .fallback(async || "else")
}

/// Fails once its beginning is heard.
struct Failing {
    inner: Fed,
    heard: Pin<Box<dyn Future<Output = ()> + Send>>,
    _frames: mpsc::UnboundedSender<Frame<Bytes>>,
}

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let heard = self.heard.as_mut().poll(cx);
        heard.map(|()| Some(Err("broken")))
    }
}

/// Rows 22 and 23 of Envoy's cases, and the other ways of a response to end. The caller keeps its
/// connection, so what it drops is a stream that it resets.
#[tokio::test]
async fn every_request_leaves_one_line() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]");
    let builder = app(&pki).config(Fixed::yaml("p.yaml", deny));
    let mesh = build(logs(builder, kept.log())).await;
    let heard = Arc::default();
    let served = serve(&mesh, routes(&heard)).await;
    let desk = caller(&pki, "desk", served.address).await;
    let denied = "rbac_access_denied_matched_policy[ns[default]-policy[p]-rule[0]]";
    for (path, content_type, expected) in [
        ("/ok", "text/plain", "200 - via_upstream 5/10".to_owned()),
        (
            "/missing",
            "text/plain",
            "200 - via_upstream 0/4".to_owned(),
        ),
        ("/refused", "text/plain", format!("403 - {denied} 0/19")),
        (
            "/refused",
            "application/grpc",
            format!("200 - {denied} 0/0"),
        ),
        (
            "/panic",
            "text/plain",
            "500 - handler_panicked 0/14".to_owned(),
        ),
        (
            "/broken",
            "text/plain",
            "200 UC upstream_reset_after_response_started{connection_termination} 0/4".to_owned(),
        ),
        (
            "/endless",
            "text/plain",
            "200 DR http2.remote_reset 0/5".to_owned(),
        ),
        (
            "/late",
            "text/plain",
            "0 DR http2.remote_reset 0/0".to_owned(),
        ),
    ] {
        let uri = format!("http://app.default{path}");
        let call = match path {
            "/ok" => desk.client().post(uri).body(ClientBody::from("hello")),
            _ => desk.client().get(uri),
        };
        let call = call.header("content-type", content_type);
        let call = match path {
            "/late" => call.timeout(Duration::from_millis(50)),
            _ => call,
        };
        let call = call.version(http::Version::HTTP_2);
        match (path, call.await) {
            ("/endless" | "/broken", Ok(answer)) => {
                let mut body = answer.into_body();
                body.frame().await.unwrap().unwrap();
                if path == "/broken" {
                    heard.notify_one();
                    assert!(body.frame().await.unwrap().is_err());
                }
            }
            (_, Ok(answer)) => drop(answer.into_body().collect().await),
            (_, Err(error)) => assert!(error.is_timeout(), "{path}: {error}"),
        }
        let method = if path == "/ok" { "POST" } else { "GET" };
        let line = format!("HTTP/2 {method} app.default{path} {expected}");
        assert_eq!(kept.one().await, line);
    }
    let counted = lines(&mesh, "mesh_access_log", &[]);
    assert_eq!(
        counted,
        [
            "mesh_access_log_dropped_total{reason=\"full\"} 0",
            "mesh_access_log_dropped_total{reason=\"write\"} 0",
            "mesh_access_log_lines_total 8",
        ]
    );
}

/// Row 24.
#[tokio::test]
async fn tokens_that_are_refused_are_told_apart() {
    let pki = Pki::new("cluster.local").unwrap();
    let issuer = Issuer::es256(ISSUER);
    let kept = Lines::default();
    let rules = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - issuer: {}\n    audiences: [app]\n    fromParams: [access_token]\n    fromHeaders: [{{name: authorization, prefix: 'Bearer '}}]\n    jwks: '{}'\n",
        issuer.name(),
        issuer.jwks()
    );
    let log = kept.log().full_queries();
    let mesh = build(logs(app(&pki).config(Fixed::yaml("p.yaml", rules)), log)).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    let good = issuer.token().audience("app");
    let hour = Duration::from_secs(3600);
    for (path, token, expected) in [
        (
            "/",
            issuer.token().audience("else").sign(),
            "app.default/ 403 - jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed} 0/",
        ),
        (
            "/",
            issuer.token().audience("app").expired_ago(hour).sign(),
            "app.default/ 401 - jwt_authn_access_denied{Jwt_is_expired} 0/",
        ),
        (
            "/a?b=c",
            good.sign(),
            "app.default/a?b=c 200 - via_upstream 0/",
        ),
    ] {
        let call = desk.client().get(format!("http://app.default{path}"));
        let call = call.header("authorization", format!("Bearer {token}"));
        drop(call.await.unwrap());
        let line = kept.one().await;
        assert!(line.contains(expected), "{line}");
    }
    // A token in a query is never shown.
    let token = issuer.token().audience("app").sign();
    let uri = format!("http://app.default/a?access_token={token}&b=c");
    drop(desk.client().get(uri).await.unwrap());
    let line = kept.one().await;
    assert!(
        line.contains("app.default/a") && line.contains("b=c"),
        "{line}"
    );
    assert!(!line.contains(&token), "{line}");
}

/// The sidecar's columns, of a request over a connection.
#[tokio::test]
async fn the_default_text_and_json_name_both_ends() {
    let pki = Pki::new("cluster.local").unwrap();
    let (text, json) = (Lines::default(), Lines::default());
    let builder = logs(app(&pki), AccessLog::text().to(text.sink()));
    let builder = logs(builder, AccessLog::json().to(json.sink()));
    let mesh = build(builder).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let request = http::Request::get("/patients?name=Ada")
        .header("host", "app.default")
        .header(
            "user-agent",
            HeaderValue::from_bytes(b"a\" 200 -\xff").unwrap(),
        )
        .header("x-request-id", "forged");
    let (status, headers, _) = read(sender.send_request(empty(request)).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(headers.contains_key("x-envoy-upstream-service-time"));
    let line = text.one().await;
    let json: serde_json::Value = serde_json::from_str(&json.one().await).unwrap();
    let field = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
    assert_eq!(
        field("downstream_local_address"),
        served.address.to_string()
    );
    assert_eq!(
        line,
        format!(
            "[{}] \"GET /patients?… HTTP/1.1\" 200 - via_upstream - \"-\" 0 4 {} {} \"{}\" \
             \"a\\\" 200 -\\xff\" \"{}\" \"app.default\" \"-\" inbound|{}|| - {} {} {} default",
            field("start_time"),
            json["duration"],
            field("upstream_service_time"),
            field("x_forwarded_for"),
            field("request_id"),
            served.address.port(),
            served.address,
            field("downstream_remote_address"),
            "outbound_.8443_._.app.default.svc.cluster.local",
        )
    );
    assert_ne!(field("request_id"), "-");
}

#[tokio::test]
async fn patients_are_not_in_the_log() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let log = kept.log().redact_path("/patients/{id}").unwrap();
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/patients/9]}}]}]");
    let builder = app(&pki).config(Fixed::yaml("p.yaml", deny));
    let mesh = build(logs(builder, log)).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    for (path, shown) in [
        ("/patients/7/notes?of=Ada", "/patients/{id}/notes?…"),
        ("/patients/9", "/patients/{id}"),
        ("//patients/7", "patients/{id}"),
        ("/api/../patients/7", "/"),
        ("/%70atients/7", "atients/{id}"),
    ] {
        let request = crate::support::mesh::get2(path);
        let answer = sender.send_request(empty(request)).await.unwrap();
        drop(answer.into_body().collect().await);
        let line = kept.one().await;
        assert!(line.contains(shown), "{line}");
        let target = line.split(' ').nth(2).unwrap();
        assert!(
            !target.contains(['7', '9']) && !line.contains("Ada"),
            "{line}"
        );
    }
}

/// Only what the filters let pass has a line, and a caller cannot hide behind a health check.
#[tokio::test]
async fn filters_choose_at_the_end() {
    let pki = Pki::new("cluster.local").unwrap();
    let (failed, no_checks) = (Lines::default(), Lines::default());
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]");
    let builder = app(&pki).config(Fixed::yaml("p.yaml", deny));
    let filter = Filter::status(400..).or(Filter::any_flag());
    let builder = logs(builder, failed.log().only(filter));
    let checks = Filter::not_health_checks(["/healthz"]);
    let mesh = build(logs(builder, no_checks.log().only(checks))).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    for (path, agent, count) in [
        ("/ok", "curl/8", (0, 1)),
        ("/ok", "kube-probe/1.31", (0, 0)),
        ("/healthz", "curl/8", (0, 0)),
        ("/refused", "kube-probe/1.31", (1, 1)),
        ("/panic", "kube-probe/1.31", (1, 1)),
    ] {
        let call = desk.client().get(format!("http://app.default{path}"));
        let answer = call.header("user-agent", agent).await.unwrap();
        drop(answer.into_body().collect().await);
        failed.take(count.0).await;
        no_checks.take(count.1).await;
    }
}

/// Without a log of this side there is no line and no metric; the header does not hang on a log.
#[tokio::test]
async fn a_mesh_without_a_log_shows_nothing() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let mesh = build(logs(app(&pki), kept.log().side(Side::Client))).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    let answer = desk.client().get("http://app.default/ok").await.unwrap();
    let (_, headers, _) = read(answer).await;
    assert!(headers.contains_key("x-envoy-upstream-service-time"));
    kept.take(0).await;
    assert!(lines(&desk, "mesh_access_log", &[]).is_empty());
}

/// A guard's answer took no time of the application, and a stranger is not told of any.
#[tokio::test]
async fn only_answers_of_the_application_tell_the_mesh_their_time() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let yaml = format!(
        "{}{}",
        policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]"),
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all}\nspec: {mtls: {mode: PERMISSIVE}}\n"
    );
    let builder = app(&pki).config(Fixed::yaml("p.yaml", yaml));
    let mesh = build(logs(builder, kept.log())).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let mut known = http2(&pki, "desk", served.address).await;
    let mut stranger = crate::support::mesh::http2_in_plaintext(served.address).await;
    for (is_known, path, expected) in [
        (true, "/ok", true),
        (true, "/refused", false),
        (false, "/ok", false),
    ] {
        let sender = if is_known { &mut known } else { &mut stranger };
        let request = empty(crate::support::mesh::get2(path));
        let (_, headers, _) = read(sender.send_request(request).await.unwrap()).await;
        let told = headers.contains_key("x-envoy-upstream-service-time");
        assert_eq!(told, expected, "{path}");
        kept.one().await;
    }
}

/// The event of a refused request's line names the rule, and no other event tells of it again.
#[tokio::test]
async fn lines_can_be_events() {
    let pki = Pki::new("cluster.local").unwrap();
    let (events, _listening) = Log::listen(Level::INFO);
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]");
    let builder = app(&pki).config(Fixed::yaml("p.yaml", deny));
    let log = AccessLog::format("%REQ(:PATH)% %RESPONSE_CODE%").unwrap();
    let mesh = build(logs(builder, log.to(Sink::events()))).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    for path in ["/ok", "/refused"] {
        let uri = format!("http://app.default{path}");
        let answer = desk.client().get(uri).await.unwrap();
        drop(answer.into_body().collect().await);
    }
    let target = "INFO tower_mesh::access_log: ";
    crate::support::mesh::until("events", || events.with(&[target]).len() == 2).await;
    assert_eq!(events.with(&[target, "/ok 200"]).len(), 1);
    assert_eq!(events.with(&[target, "/refused 403"]).len(), 1);
    let rule = "policy=ns[default]-policy[p]-rule[0]";
    let refused = events.with(&[
        target,
        rule,
        "peer=cluster.local/ns/default/sa/desk",
        "at=p.yaml:",
    ]);
    assert_eq!(refused.len(), 1, "{}", events.text());
    assert!(
        events.with(&["tower_mesh::access: "]).is_empty(),
        "{}",
        events.text()
    );
}

/// A filter may leave the line out, and a refusal is never silent.
#[tokio::test]
async fn a_filter_leaves_no_refusal_untold() {
    let pki = Pki::new("cluster.local").unwrap();
    let (events, _listening) = Log::listen(Level::INFO);
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/patients/9]}}]}]");
    let builder = app(&pki).config(Fixed::yaml("p.yaml", deny));
    let log = AccessLog::text()
        .only(Filter::status(500..))
        .to(Sink::events());
    let builder = builder.telemetry(|telemetry| telemetry.redact_path("/patients/{id}"));
    let mesh = build(logs(builder, log)).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    let uri = "http://app.default/patients/9";
    assert_eq!(desk.client().get(uri).await.unwrap().status(), 403);
    let told = events.with(&[
        "tower_mesh::access: request refused",
        "path=/patients/{id} ",
    ]);
    assert_eq!(told.len(), 1, "{}", events.text());
    assert!(!events.text().contains("/patients/9"), "{}", events.text());
}

/// What is hidden is hidden in spans, too: in those of requests and in those of calls.
#[tokio::test]
async fn a_hidden_parameter_is_in_no_span() {
    let pki = Pki::new("cluster.local").unwrap();
    let (spans, kept) = std::sync::mpsc::channel();
    let traced = |builder: MeshBuilder, spans: &std::sync::mpsc::Sender<FinishedSpan>| {
        let propagation = Propagation::new()
            .sample_percent(100.0)
            .semantic_conventions();
        let propagation = propagation.export_to(Kept(spans.clone()));
        builder.telemetry(|telemetry| {
            let telemetry = telemetry.propagation(propagation);
            telemetry.redact_path("/patients/{id}")
        })
    };
    let mesh = build(traced(app(&pki), &spans)).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let identity = pki.identity("default", "desk").unwrap();
    let desk = Mesh::builder(Workload::new("default", "desk"), identity).upstream(
        "app.default",
        [served.address],
        ["spiffe://cluster.local/ns/default/sa/app"],
    );
    let desk = build(traced(desk, &spans)).await;
    let uri = "http://app.default/patients/9/notes?page=2";
    let answer = desk.client().get(uri).await.unwrap();
    drop(read(answer).await);
    for _ in 0..2 {
        let span = kept.recv().unwrap();
        let shown: Vec<_> = span.tags.iter().map(|(_, value)| value.as_str()).collect();
        let paths: Vec<_> = shown
            .iter()
            .filter(|value| value.contains("/notes"))
            .collect();
        assert!(paths.len() >= 2, "{:?}", span.tags);
        for path in paths {
            assert!(path.contains("/patients/{id}/notes"), "{path}");
        }
    }
}

#[derive(Debug)]
struct Kept(std::sync::mpsc::Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        let _ = self.0.send(span);
    }
}

/// A log that panics costs its own line only.
#[tokio::test]
async fn a_sink_that_panics_harms_nobody() {
    struct Panics(Mutex<u32>);
    impl tower_mesh::access_log::LineSink for Panics {
        fn take(&self, _: &[u8]) -> bool {
            *self.0.lock().unwrap() += 1;
            drop(self.0.lock());
            panic!("a sink panics")
        }
    }
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let broken = kept.log().to(Sink::custom(Panics(Mutex::default())));
    let mesh = build(logs(logs(app(&pki), broken), kept.log())).await;
    let served = serve(&mesh, routes(&Arc::default())).await;
    let desk = caller(&pki, "desk", served.address).await;
    for _ in 0..2 {
        let answer = desk.client().get("http://app.default/ok").await.unwrap();
        let answer: Response<_> = answer;
        assert_eq!(read(answer).await.0, 200);
        kept.one().await;
    }
}
