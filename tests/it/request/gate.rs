//! The gate as the first step of the mesh.

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::routing::any;
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;
use tower_mesh::gate::{Gate, Profile};
use tower_mesh::policy::Engine;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::testing::policy::{Policies, request as asked};
use tower_mesh::tls::Protocol;
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app, build, dial, lines, policy, read, serve, unproven};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// Policy would deny every request, so an answer of the gate shows that it came first.
fn closed() -> Fixed {
    Fixed::yaml("policies.yaml", policy("closed", "DENY", "[{}]"))
}

/// One spelling of each kind that the gate refuses, with its status and reason in `Istio` and in
/// `Strict`; policy denies what passes.
const SPELLINGS: [Spelling; 12] = [
    ("/plain", &[], PASSES, PASSES),
    ("/%zz", &[], (400, "escape"), (400, "escape")),
    ("/%00", &[], (400, "escape"), (400, "escape")),
    ("/a%2fb", &[], PASSES, (400, "escaped_slash")),
    ("/x/..;/a", &[], PASSES, (400, "dot_parameter")),
    ("/[a]", &[], (400, "illegal_byte"), (400, "illegal_byte")),
    ("/", &[("host", "a,b")], PASSES, (400, "host")),
    (
        "/",
        &[("host", "a"), ("host", "b")],
        (400, "several_hosts"),
        (400, "several_hosts"),
    ),
    ("http://a/", &[("host", "b")], PASSES, (400, "other_host")),
    (
        "/",
        &[("transfer-encoding", "gzip, chunked")],
        (400, "transfer_encoding"),
        (400, "transfer_encoding"),
    ),
    (
        "/",
        &[("connection", "x-forwarded-for")],
        (400, "connection_header"),
        (400, "connection_header"),
    ),
    ("/", &[("x-original-url", "/")], PASSES, PASSES),
];

type Spelling = (
    &'static str,
    &'static [(&'static str, &'static str)],
    Answer,
    Answer,
);
type Answer = (u16, &'static str);
/// The answer of policy, which the gate lets it give.
const PASSES: Answer = (403, "");

/// Both profiles judge before policy, and count what they refuse by reason.
#[tokio::test]
async fn the_mesh_refuses_at_its_gate_before_policy() {
    for profile in [Profile::Istio, Profile::Strict] {
        let mesh = build(app(&pki()).config(closed()).gate(profile)).await;
        let service = mesh.protect(Router::new());
        for (target, headers, istio, strict) in SPELLINGS {
            let (status, reason) = match profile {
                Profile::Istio => istio,
                Profile::Strict => strict,
            };
            let request = Request::get(target).extension(unproven());
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, *value)
            });
            let count = |mesh: &Mesh| {
                let label = format!("reason=\"{reason}\"");
                lines(mesh, "mesh_gate_refusals_total", &[&label])
                    .first()
                    .map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
            };
            let before: u64 = count(&mesh);
            let request = request.body(Body::empty()).unwrap();
            let answer = service.clone().oneshot(request).await.unwrap();
            let case = format!("{profile:?} {target} {headers:?}");
            assert_eq!(answer.status(), status, "{case}");
            let counted = u64::from(!reason.is_empty());
            assert_eq!(count(&mesh), before + counted, "{case}");
        }
    }
}

/// B-37. `Strict` removes headers that override the target; `Istio` leaves them, as a sidecar does.
#[tokio::test]
async fn the_application_sees_no_override_in_strict() {
    for (gate, expected) in [(Gate::istio(), "/admin"), (Gate::strict(), "")] {
        let mesh = build(app(&pki()).gate(gate)).await;
        let service = mesh.protect(Router::new().fallback(any(|headers: HeaderMap| async move {
            let line = headers.get("x-original-url").cloned();
            line.map_or_else(String::new, |line| line.to_str().unwrap().to_owned())
                .into_response()
        })));
        let request = Request::get("/")
            .header("x-original-url", "/admin")
            .extension(unproven());
        let request = request.body(Body::empty()).unwrap();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(read(answer).await.2, expected);
    }
}

/// B-03. A server of the mesh takes HTTP/1.0 unless a knob refuses it as Envoy does.
#[tokio::test]
async fn http_1_0_is_refused_over_a_socket_by_the_knob() {
    let pki = pki();
    for (gate, status) in [
        (Gate::istio(), "200"),
        (Gate::istio().accept_http_10(false), "426"),
        (Gate::strict(), "400"),
    ] {
        let mesh = build(app(&pki).gate(gate)).await;
        let app = Router::new().fallback(any(|| async { "here" }));
        let served = serve(&mesh, app).await;
        let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
        let request = "GET / HTTP/1.0\r\nhost: app\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
}

/// Policies are judged by MeshConfig's normalization, so the gate has none of its own.
#[tokio::test]
async fn a_gate_of_a_mesh_does_not_choose_the_normalization() {
    let gate = Gate::strict().normalization(tower_mesh::matcher::path::Normalization::None);
    let error = app(&pki()).gate(gate).build().await.err().unwrap();
    let said = error.to_string();
    assert!(said.contains("pathNormalization"), "{said}");
}

/// B-05. In `Strict` policy judges a host with a port, or with a dot at its end, without them, too;
/// the decision that refuses counts. `Istio` takes hosts literally.
#[tokio::test]
async fn a_port_or_a_dot_does_not_get_around_a_rule_in_strict() {
    let rule = |host: &str| format!("[{{to: [{{operation: {{hosts: [{host}]}}}}]}}]");
    let denied = policy("closed", "DENY", &rule("secret.example"));
    let with_port = policy("closed", "DENY", &rule("'secret.example:80'"));
    let allowed = policy("open", "ALLOW", &rule("open.example"));
    let literal = policy("open", "ALLOW", &rule("'open.example:80'"));
    for (policies, host, istio, strict) in [
        (&denied, "secret.example", 403, 403),
        (&denied, "secret.example:80", 200, 403),
        (&denied, "Secret.Example.", 200, 403),
        (&denied, "secret.example.:80", 200, 403),
        (&denied, "secret.example..", 200, 403),
        (&with_port, "secret.example.:80", 200, 403),
        (&denied, "open.example:80", 200, 200),
        (&allowed, "open.example", 200, 200),
        (&allowed, "open.example:80", 403, 403),
        (&literal, "open.example:80", 200, 403),
    ] {
        let knob = Gate::strict().judge_bare_hosts(false);
        for (gate, status) in [
            (Gate::istio(), istio),
            (Gate::strict(), strict),
            (knob, istio),
        ] {
            let source = Fixed::yaml("policies.yaml", policies.clone());
            let mesh = build(app(&pki()).config(source).gate(gate)).await;
            let service = mesh.protect(Router::new().fallback(any(|| async {})));
            for target in ["/".to_owned(), format!("http://{host}/")] {
                let request = Request::get(&target).extension(unproven());
                let request = request.header("host", host).body(Body::empty()).unwrap();
                let answer = service.clone().oneshot(request).await.unwrap();
                assert_eq!(answer.status(), status, "{gate:?} {target} {host}");
            }
            let tested = Policies::from(engine(policies)).gate(gate);
            let asked = asked().get("/").authority(host);
            tested.expect(asked).to_be_answered(status);
        }
    }
}

fn engine(policies: &str) -> Engine {
    let workload = Workload::new("default", "app");
    Engine::builder(&workload).yaml(policies).build().unwrap()
}

/// B-30. A service that a router has chosen by the raw path judges as one behind a router, wherever
/// it was protected.
#[tokio::test]
async fn a_protected_route_is_behind_its_router() {
    let mesh = build(app(&pki())).await;
    let inner = || mesh.protect(Router::new().fallback(any(|| async {})));
    let routed = Router::new()
        .route_service("/x/{*rest}", inner())
        .nest_service("/y", inner())
        .fallback_service(inner());
    for (path, status) in [
        ("/x/a", 200),
        ("/x/../public/a", 400),
        ("/x/%2e%2e/public/a", 400),
        ("/y/a", 200),
        ("/y/../public/a", 400),
        // No route was chosen.
        ("/z/../public/a", 200),
    ] {
        let request = Request::get(path)
            .header("host", "app")
            .extension(unproven());
        let request = request.body(Body::empty()).unwrap();
        let answer = routed.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

/// B-05. What a dry run says of the bare host is told, too.
#[tokio::test]
async fn a_dry_run_judges_the_bare_host() {
    let rules = "[{to: [{operation: {hosts: [secret.example]}}]}]";
    let dry = policy("dry", "DENY", rules).replace(
        "metadata: {",
        "metadata: {annotations: {istio.io/dry-run: 'true'}, ",
    );
    let engine = engine(&dry);
    for (host, is_marked) in [("secret.example:80", true), ("open.example:80", false)] {
        let asked = asked().get("/").authority(host);
        let admitted = Gate::strict().judge(&asked).unwrap();
        let judged = engine.judge(&admitted).decision;
        assert!(judged.allowed);
        let dry_run = judged.marks.and_then(|marks| marks.dry_run_deny.clone());
        let refuses = dry_run.is_some_and(|run| !run.allowed);
        assert_eq!(refuses, is_marked, "{host}");
    }
}
