//! The policy guard through its layer: what the engine decides reaches the wire in Envoy's shape.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context::{Claims, Exchange, Peer};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::{PolicyCheck, RbacLayer};

fn engine(rules: &str) -> Engine {
    Engine::builder(&Workload::new("foo", "app"))
        .yaml(&policy("ALLOW", rules))
        .build()
        .unwrap()
}

fn policy(action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {}, namespace: foo}}\nspec: {{action: {action}, rules: {rules}}}\n---\n",
        action.to_lowercase()
    )
}

fn layer(engine: Engine) -> RbacLayer {
    RbacLayer::new(Live::new(engine))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn plaintext() -> Peer {
    Peer::plaintext(address("10.1.2.3:4711"), address("10.9.9.9:8080"))
}

fn request(target: &str) -> http::request::Builder {
    Request::get(target)
        .header("host", "app")
        .extension(plaintext())
}

struct Answer {
    status: u16,
    body: String,
    headers: http::HeaderMap,
    exchange: Exchange,
    called: bool,
    target: Option<String>,
}

impl Answer {
    fn details(&self) -> &str {
        self.exchange.details().map_or("", |details| details)
    }
}

async fn send(layer: &RbacLayer, request: http::request::Builder) -> Answer {
    let mut request = request.body(Empty::<Bytes>::new()).unwrap();
    let exchange = Exchange::from_extensions(request.extensions_mut());
    let seen = Arc::new(std::sync::OnceLock::new());
    let note = seen.clone();
    let app = service_fn(move |request: Request<Empty<Bytes>>| {
        let _ = note.set(request.uri().to_string());
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let response = layer.layer(app).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        headers: head.headers,
        exchange,
        called: seen.get().is_some(),
        target: seen.get().cloned(),
    }
}

#[tokio::test]
async fn a_refusal_reads_as_envoys() {
    let layer = layer(engine("[{to: [{operation: {paths: [/a]}}]}]"));
    let allowed = send(&layer, request("/a?x")).await;
    assert_eq!((allowed.status, allowed.called), (200, true));
    assert!(
        allowed.exchange.decision().is_none(),
        "a plain allow leaves nothing"
    );

    let refused = send(&layer, request("/b")).await;
    assert_eq!((refused.status, refused.called), (403, false));
    assert_eq!(refused.body, "RBAC: access denied");
    assert_eq!(refused.headers["content-type"], "text/plain");
    assert_eq!(refused.headers["content-length"], "19");
    assert_eq!(refused.details(), "rbac_access_denied_matched_policy[none]");
    assert!(!refused.exchange.decision().unwrap().is_allowed());

    let grpc = send(
        &layer,
        request("/b").header("content-type", "application/grpc"),
    )
    .await;
    assert_eq!((grpc.status, grpc.body.as_str()), (200, ""));
    assert_eq!(grpc.headers["grpc-status"], "7");
    assert_eq!(grpc.headers["grpc-message"], "RBAC: access denied");
}

#[tokio::test]
async fn the_deciding_rule_is_named() {
    let engine = Engine::builder(&Workload::new("foo", "app"))
        .yaml(&policy("DENY", "[{to: [{operation: {paths: [/x]}}]}]"))
        .yaml(&policy("ALLOW", "[{}]"))
        .build()
        .unwrap();
    let layer = layer(engine).record_allows(true);
    let refused = send(&layer, request("/x")).await;
    assert_eq!(
        refused.details(),
        "rbac_access_denied_matched_policy[ns[foo]-policy[deny]-rule[0]]"
    );
    let allowed = send(&layer, request("/y")).await;
    let decision = allowed.exchange.decision().unwrap();
    let name = decision.policy.as_ref().unwrap().as_str();
    assert_eq!(name, "ns[foo]-policy[allow]-rule[0]");
}

#[tokio::test]
async fn a_request_without_a_peer_is_refused() {
    let layer = layer(engine("[{}]"));
    let answer = send(&layer, Request::get("/")).await;
    assert_eq!((answer.status, answer.called), (403, false));
    assert_eq!(answer.details(), "rbac_access_denied_no_peer");
}

/// Rows 15, 17 to 21 and 31 of the policy page, B-49.
#[tokio::test]
async fn headers_reach_policy_as_envoy_stores_them() {
    let when = |key: &str, test: &str| format!("[{{when: [{{key: '{key}', {test}}}]}}]");
    let header = |name: &str, test: &str| when(&format!("request.headers[{name}]"), test);
    let of = |pairs: &[(&str, &str)]| {
        pairs.iter().fold(request("/"), |request, (name, value)| {
            request.header(*name, *value)
        })
    };
    for (rules, headers, status) in [
        (header("x", "values: ['*']"), of(&[("x", "")]), 200),
        (header("x", "values: ['*']"), of(&[]), 403),
        (header("x", "notValues: [a]"), of(&[]), 200),
        (
            header("x", "notValues: [a]"),
            of(&[("x", "a"), ("x", "b")]),
            403,
        ),
        (
            header("x", "values: [b]"),
            of(&[("x", "a"), ("x", "b")]),
            200,
        ),
        (header("x", "values: [b]"), of(&[("x", "a,b")]), 403),
        (header("x", "values: [a]"), of(&[("x", " a\t")]), 200),
        (header("X", "values: [a]"), of(&[("x", "a")]), 200),
        (
            header("accept", "values: [a]"),
            of(&[("accept", "a"), ("accept", "b")]),
            403,
        ),
        (
            header("accept", "values: ['a,b']"),
            of(&[("accept", "a"), ("accept", "b")]),
            200,
        ),
        (header(":path", "values: ['/']"), of(&[]), 200),
        (header(":method", "values: [GET]"), of(&[]), 200),
        (header("host", "values: [app]"), of(&[]), 200),
        (header("te", "values: ['*']"), of(&[("te", "gzip")]), 403),
        (
            header("te", "values: ['*']"),
            of(&[("te", "trailers")]),
            200,
        ),
        (
            header("x-forwarded-client-cert", "values: ['*']"),
            of(&[("x-forwarded-client-cert", "By=x")]),
            403,
        ),
        (
            when("source.ip", "values: [10.1.2.3]"),
            of(&[("x-forwarded-for", "9.9.9.9")]),
            200,
        ),
        (
            when("remote.ip", "values: [9.9.9.0/24]"),
            of(&[("x-forwarded-for", "1.1.1.1, 9.9.9.9")]),
            200,
        ),
        (
            when("remote.ip", "values: [9.9.9.0/24]"),
            of(&[("x-forwarded-for", "9.9.9.9, 1.1.1.1")]),
            403,
        ),
        (
            when("remote.ip", "values: [9.9.9.0/24]"),
            of(&[("x-forwarded-for", "9.9.9.9,")]),
            403,
        ),
        (when("destination.port", "values: ['8080']"), of(&[]), 200),
        (when("destination.ip", "values: [10.9.9.9]"), of(&[]), 200),
        (
            "[{to: [{operation: {hosts: [APP]}}]}]".to_owned(),
            of(&[]),
            200,
        ),
    ] {
        let answer = send(&layer(engine(&rules)), headers).await;
        assert_eq!(answer.status, status, "{rules}");
    }
}

/// B-12, B-56
#[tokio::test]
async fn headers_that_are_no_text_are_judged_as_bytes() {
    let one = layer(engine(
        "[{when: [{key: 'request.headers[x]', values: ['*']}]}]",
    ));
    let opaque = request("/").header("x", &b"\xff\xfe"[..]);
    assert_eq!(send(&one, opaque).await.status, 200);
    let all = layer(engine("[{}]"));
    let host = Request::get("/")
        .header("host", &b"a\xff"[..])
        .extension(plaintext());
    assert_eq!(send(&all, host).await.status, 400);
}

/// B-62
#[tokio::test]
async fn a_mapped_socket_address_is_ipv4() {
    let layer = layer(engine("[{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]"));
    let peer = Peer::plaintext(address("[::ffff:10.0.0.1]:1"), address("[::1]:80"));
    let answer = send(&layer, Request::get("/").extension(peer)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn claims_of_the_exchange_are_judged() {
    let layer = layer(engine(
        "[{from: [{source: {requestPrincipals: [i/alice]}}]}]",
    ));
    for (subject, status) in [("alice", 200), ("bob", 403)] {
        let exchange = Exchange::default();
        exchange.set_peer(plaintext());
        let claims = serde_json::json!({"iss": "i", "sub": subject});
        exchange.set_claims(Claims::new(claims.as_object().unwrap().clone()));
        let answer = send(&layer, request("/").extension(exchange)).await;
        assert_eq!(answer.status, status, "{subject}");
    }
}

/// B-20 to B-28, in the BASE mode: in front of the router the target is rewritten, so that the router sees what was judged.
#[tokio::test]
async fn in_front_of_the_router_targets_are_rewritten() {
    let engine = Engine::builder(&Workload::new("foo", "app"))
        .yaml(&policy("DENY", "[{to: [{operation: {paths: [/admin]}}]}]"))
        .yaml(&policy("ALLOW", "[{}]"))
        .build()
        .unwrap();
    let layer = layer(engine).in_front_of_router();
    for (target, status, seen) in [
        ("/admin?x=1", 403, None),
        ("/x/../admin", 403, None),
        ("/%61dmin", 403, None),
        ("/x/%2e%2e/admin", 403, None),
        ("/..;/admin", 403, None),
        ("http://app/admin", 403, None),
        ("//admin", 200, Some("//admin")),
        ("/x/../other?a=%41", 200, Some("/other?a=%41")),
        ("/Admin", 200, Some("/Admin")),
        ("/admin%00", 400, None),
        ("*", 400, None),
    ] {
        let answer = send(&layer, request(target)).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.target.as_deref(), seen, "{target}");
    }
    let connect = Request::connect("app:443").extension(plaintext());
    let answer = send(&layer, connect).await;
    assert_eq!((answer.status, answer.details()), (403, "upgrade_failed"));
}

/// B-30
#[tokio::test]
async fn behind_a_router_other_segments_are_refused() {
    let layer = layer(engine("[{to: [{operation: {paths: [/admin]}}]}]"));
    for (target, status) in [
        ("/admin", 200),
        ("/%61dmin", 200),
        ("/x/../admin", 400),
        ("/x/%2e%2e/admin", 400),
        ("/./admin", 400),
        ("/admin/.", 400),
        ("/..", 400),
        ("/other", 403),
    ] {
        assert_eq!(
            send(&layer, request(target)).await.status,
            status,
            "{target}"
        );
    }
}

/// B-31: what the exchange keeps counts before what a router says.
#[tokio::test]
async fn a_nested_guard_judges_the_target_that_the_exchange_keeps() {
    let nested = Router::new()
        .route("/admin", any(|| async { "reached" }))
        .layer(layer(engine(
            "[{to: [{operation: {paths: [/api/v1/admin]}}]}]",
        )));
    let app = Router::new().nest("/api", Router::new().nest("/v1", nested));
    for (kept, status) in [
        (None, 200),
        (Some("/api/v1/admin"), 200),
        (Some("/edge/api/v1/admin"), 403),
    ] {
        let exchange = Exchange::default();
        exchange.set_peer(plaintext());
        if let Some(kept) = kept {
            exchange.set_target(kept.parse().unwrap());
        }
        let request = Request::get("/api/v1/admin")
            .extension(exchange)
            .body(axum::body::Body::empty());
        let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{kept:?}");
    }
}

/// Row 52, and what comes of a provider while nobody can be asked.
#[tokio::test]
async fn a_request_that_a_provider_should_judge_is_refused() {
    let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    extensionProviders:\n    - name: opa\n      envoyExtAuthzHttp: {service: opa.default.svc.cluster.local, port: 9191}\n---\n";
    let custom = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ask, namespace: foo}\nspec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/ask]}}]}]}\n";
    let engine = Engine::builder(&Workload::new("foo", "app"))
        .yaml(mesh)
        .yaml(custom)
        .build()
        .unwrap();
    assert!(PolicyCheck::unasked_providers(&engine).contains("opa"));
    let layer = layer(engine);
    for layer in [layer.clone(), layer.in_front_of_router()] {
        assert_eq!(send(&layer, request("/free")).await.status, 200);
        let answer = send(&layer, request("/ask")).await;
        assert_eq!((answer.status, answer.called), (403, false));
        assert_eq!(
            answer.details(),
            "ext_authz_error{provider[opa]_cannot_be_asked}"
        );
    }
}

/// The inner service is called only when it is ready, and errors pass through.
#[tokio::test]
async fn readiness_and_errors_are_the_inner_services() {
    #[derive(Clone)]
    struct Moody {
        ready: Arc<AtomicBool>,
        calls: Arc<AtomicUsize>,
    }
    impl Service<Request<()>> for Moody {
        type Response = Response<Empty<Bytes>>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            match self.ready.load(Ordering::SeqCst) {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            assert!(
                self.ready.load(Ordering::SeqCst),
                "called before it was ready"
            );
            self.calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err("broken"))
        }
    }
    let inner = Moody {
        ready: Arc::default(),
        calls: Arc::default(),
    };
    let mut guarded = layer(engine("[{to: [{operation: {paths: [/a]}}]}]")).layer(inner.clone());
    let mut clone = guarded.clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(guarded.poll_ready(&mut cx).is_pending());
    inner.ready.store(true, Ordering::SeqCst);
    assert!(clone.poll_ready(&mut cx).is_ready());
    let refused = clone.call(request("/b").body(()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(inner.calls.load(Ordering::SeqCst), 0);
    let failed = clone.call(request("/a").body(()).unwrap()).await;
    assert_eq!(failed.map(|_| ()), Err("broken"));
    // A future that is dropped before it is polled does no harm.
    drop(clone.call(request("/a").body(()).unwrap()));
    assert_eq!(inner.calls.load(Ordering::SeqCst), 2);
}

/// A new engine counts from the next request on.
#[tokio::test]
async fn a_reload_counts_at_once() {
    let live = Live::new(engine("[{}]"));
    let layer = RbacLayer::new(live.clone());
    assert_eq!(send(&layer, request("/")).await.status, 200);
    live.store(engine("[]"));
    assert_eq!(send(&layer, request("/")).await.status, 403);
}

#[test]
fn the_layer_is_shared_freely() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    is_shared(&layer(engine("[{}]")).layer(()));
}
