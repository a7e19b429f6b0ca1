//! What is wrong with a mesh is told at once, each thing with its place and what to do.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode};
use tempfile::TempDir;
use tower::ServiceExt;
use tower_mesh::mesh::{BuildError, ExternalHost};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::tls::{Files, Mode, NextIdentity, Source};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, app, build};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

async fn refused(builder: MeshBuilder) -> BuildError {
    builder.build().await.map(drop).unwrap_err()
}

fn users(uri: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - {{issuer: {ISSUER}, jwksUri: '{uri}'}}\n---\n"
    )
}

const BROKEN: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {actoin: DENY}\n";

#[tokio::test]
async fn mistakes_of_options_are_told_all_at_once_with_their_methods() {
    let pki = pki();
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let id = pki.identity("default", "app").unwrap();
    let id = id.svid().spiffe_id().clone();
    let builder = Mesh::builder(
        Workload::new("default", "app"),
        pki.identity("default", "app").unwrap(),
    )
    .mode(Mode::Disable)
    .upstream("a b", [address], [id.clone()])
    .upstream("twice.default", [address], [id.clone()])
    .upstream("TWICE.default", [address], [id.clone()])
    .upstream("nobody.default", [address], [] as [&str; 0])
    .outside("api.example", ExternalHost::tls_with_roots("no PEM"))
    .outside("twice.default", ExternalHost::plaintext())
    .listener(|listener| {
        listener
            .load_balancers(["10.0.0.0/33", "lb.internal"])
            .quiet_grpc(["a.B/Watch", "/a.B/Watch", "*"])
    })
    .tokens(|tokens| tokens.jwks_roots("no PEM"));
    let error = refused(builder).await;
    let mistakes = error.mistakes();
    let wanted = [
        ("upstream", "\"a b\""),
        ("upstream", "\"TWICE.default\": the host was given before"),
        ("upstream", "\"nobody.default\""),
        ("outside", "\"api.example\""),
        ("outside", "\"twice.default\""),
        (
            "listener: load_balancers",
            "\"10.0.0.0/33\" is neither an IP address",
        ),
        ("listener: load_balancers", "\"lb.internal\""),
        ("listener: quiet_grpc", "\"a.B/Watch\""),
        ("listener: quiet_grpc", "\"*\""),
        ("tokens: jwks_roots", "no certificate"),
        ("mode", "danger().mode(Mode::Disable)"),
    ];
    for (method, piece) in wanted {
        let method = format!("MeshBuilder::{method}");
        let is_told = |mistake: &&String| mistake.starts_with(&method) && mistake.contains(piece);
        let told = mistakes.iter().filter(is_told).count();
        assert_eq!(told, 1, "{method}, {piece}: {error:?}");
    }
    assert_eq!(mistakes.len(), wanted.len(), "{error:?}");
    assert_eq!(error.to_string(), "11 options are wrong");
    let source = error.source().unwrap().to_string();
    assert_eq!(source, mistakes.join("\n"));
}

#[tokio::test]
async fn options_identity_and_configuration_are_judged_beside_each_other() {
    let empty = TempDir::new().unwrap();
    let builder = Mesh::builder(Workload::new("default", "app"), Files::watch(empty.path()))
        .config(Fixed::yaml("ward.yaml", BROKEN))
        .listener(|listener| listener.quiet_grpc(["*"]));
    let error = refused(builder).await;
    assert_eq!(error.mistakes().len(), 1, "{error:?}");
    assert!(error.identity_source().is_some(), "{error:?}");
    let problems = error.problems().unwrap().to_string();
    assert!(
        problems.starts_with("ward.yaml:4:8: spec.actoin: "),
        "{problems}"
    );
    assert_eq!(
        error.to_string(),
        "an option and the identity and the configuration are wrong"
    );
    // What `main` prints of an error that it returns.
    let shown = format!("{error:?}");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    for (line, start) in lines[1..].iter().zip([
        "  MeshBuilder::listener: quiet_grpc: ",
        "  the identity cannot be had: ",
        "  ward.yaml:4:8: ",
    ]) {
        assert!(line.starts_with(start), "{shown}");
    }
    assert!(shown.contains("tls.crt"), "{shown}");
}

/// Policies and token rules do not wait for each other.
#[tokio::test]
async fn policies_and_token_rules_are_judged_beside_each_other() {
    let switch = "apiVersion: rbac.istio.io/v1alpha1\nkind: ClusterRbacConfig\nmetadata: {name: default}\nspec: {mode: 'ON'}\n---\n";
    let yaml = switch.to_owned() + &users("http://issuer.example/keys");
    let serviceless = Mesh::builder(
        Workload::new("default", "app"),
        pki().identity("default", "app").unwrap(),
    );
    let error = refused(serviceless.config(Fixed::yaml("p.yaml", yaml))).await;
    assert_eq!(error.to_string(), "the configuration is refused");
    let problems = error.problems().unwrap().to_string();
    for piece in ["service", "forged on the way"] {
        assert!(problems.contains(piece), "{piece}: {problems}");
    }
    assert_eq!(problems.lines().count(), 2, "{problems}");
}

/// A source that never gives an identity.
#[derive(Debug)]
struct Never;

impl Source for Never {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(std::future::pending())
    }
}

/// Who waits for an agent learns of what is wrong here all the same.
#[tokio::test(start_paused = true)]
async fn an_identity_that_does_not_come_hides_no_mistake() {
    let begun = tokio::time::Instant::now();
    let builder = Mesh::builder(Workload::new("default", "app"), Never)
        .config(Fixed::yaml("ward.yaml", BROKEN));
    let error = refused(builder).await;
    assert!(error.problems().is_some(), "{error:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

/// Nor does it hold a build up without a word.
#[tokio::test(start_paused = true)]
async fn an_identity_that_does_not_come_is_told_while_it_is_waited_for() {
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let builder = Mesh::builder(Workload::new("default", "app"), Never);
    let build = tokio::time::timeout(Duration::from_secs(100), builder.build());
    assert!(build.await.is_err());
    let told = log.with(&["WARN tower_mesh::mesh", "waiting for our own identity"]);
    assert_eq!(told.len(), 4, "{}", log.text());
    for (line, seconds) in told.iter().zip([5, 15, 35, 75]) {
        assert!(
            line.contains(&format!("seconds={seconds} "))
                || line.ends_with(&format!("seconds={seconds}")),
            "{line}"
        );
    }
}

/// What makes a port STRICT, and that no policy says who may call.
#[tokio::test]
async fn in_plaintext_all_that_a_configuration_lacks_is_told() {
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRICT}}\n";
    let builder = Mesh::danger().plaintext(Workload::new("default", "app"));
    let builder = builder.require_policy();
    let error = refused(builder.config(Fixed::yaml("p.yaml", strict))).await;
    let problems = error.problems().unwrap().to_string();
    for piece in ["p.yaml:1:1", "STRICT", "require_policy"] {
        assert!(problems.contains(piece), "{piece}: {problems}");
    }
    assert_eq!(problems.lines().count(), 2, "{problems}");
}

/// What a document holds forges no line of an error or of the log.
#[tokio::test]
async fn a_problem_is_one_line_whatever_a_document_holds() {
    let yaml = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: \"a\\n2026 INFO forged \\e[31m\\u202e\"}\nspec: {\"act\\nion\": DENY}\n";
    let builder = app(&pki()).config(Fixed::yaml("p.yaml", yaml));
    let error = refused(builder).await;
    let problems = error.problems().unwrap();
    let text = problems.to_string();
    assert_eq!(text.lines().count(), problems.as_slice().len(), "{text}");
    assert!(
        text.contains(r"a\n2026 INFO forged \u{1b}[31m\u{202e}"),
        "{text}"
    );
}

#[tokio::test]
async fn a_single_mistake_is_the_error() {
    let error = refused(app(&pki()).listener(|listener| listener.quiet_grpc(["*"]))).await;
    assert!(error.source().is_none());
    assert_eq!(
        error.to_string(),
        "MeshBuilder::listener: quiet_grpc: \"*\" is neither /package.Service/Method nor /package.Service/"
    );
    assert_eq!(format!("{error:?}"), error.to_string());
}

async fn ask(mesh: &Mesh, issuer: &Issuer) -> StatusCode {
    let token = issuer.token().subject("u").sign();
    let peer = Peer::plaintext(
        "10.0.0.1:1".parse().unwrap(),
        "10.0.0.2:8443".parse().unwrap(),
    );
    let request = Request::get("/")
        .header("host", "app.default")
        .header("authorization", format!("Bearer {token}"))
        .extension(peer)
        .body(axum::body::Body::empty());
    let app = Router::new().fallback(any(|| async {}));
    let answer = mesh.protect(app).oneshot(request.unwrap()).await.unwrap();
    answer.status()
}

fn open(yaml: &str) -> MeshBuilder {
    app(&pki())
        .mode(Mode::Permissive)
        .config(Fixed::yaml("users.yaml", yaml))
}

/// J-47: on loopback, and by the option alone.
#[tokio::test]
async fn keys_come_over_plain_http_from_loopback_by_the_option_alone() {
    let issuer = Issuer::es256(ISSUER);
    let server = JwksServer::start_plaintext(&issuer).await.unwrap();
    let port = server.address().port();
    for host in ["127.0.0.1", "localhost", "LocalHost"] {
        let uri = format!("http://{host}:{port}/keys?token=hunter2");
        let error = refused(open(&users(&uri))).await;
        let problems = error.problems().unwrap().to_string();
        assert!(
            problems.contains("TokenOptions::loopback_http_jwks"),
            "{problems}"
        );
        let (log, _guard) = Log::listen(tracing::Level::WARN);
        let mesh = build(open(&users(&uri)).tokens(|tokens| tokens.loopback_http_jwks())).await;
        assert_eq!(ask(&mesh, &issuer).await, 200, "{uri}: {}", log.text());
        let on = log.with(&["WARN", "loopback_http_jwks"]);
        assert_eq!(on.len(), 1, "{}", log.text());
        let which = format!("http://{host}:{port}/keys");
        assert_eq!(
            log.with(&["WARN", "plain HTTP", &which]).len(),
            1,
            "{}",
            log.text()
        );
        assert!(!log.text().contains("hunter2"), "{}", log.text());
    }
}

#[tokio::test]
async fn nothing_else_is_loopback() {
    for host in [
        "issuer.example",
        "localhost.example",
        "localhost@issuer.example",
        "127.0.0.1.nip.io",
        "127.1",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::2]",
    ] {
        let yaml = users(&format!("http://{host}:80/keys"));
        let error = refused(open(&yaml).tokens(|tokens| tokens.loopback_http_jwks())).await;
        assert!(error.problems().is_some(), "{host}: {error:?}");
    }
    for host in ["127.9.9.9", "[::1]", "localhost", "u:p@localhost"] {
        let yaml = users(&format!("http://{host}:1/keys"));
        assert!(
            open(&yaml)
                .tokens(|tokens| tokens.loopback_http_jwks())
                .build()
                .await
                .is_ok(),
            "{host}"
        );
    }
}

/// `localhost` is whatever the system says, but over plain HTTP never another machine.
#[tokio::test]
async fn localhost_that_leads_elsewhere_is_not_asked() {
    let issuer = Issuer::es256(ISSUER);
    let elsewhere = "192.0.2.1:80".parse().unwrap();
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let builder = open(&users("http://localhost/keys")).tokens(|tokens| {
        tokens
            .loopback_http_jwks()
            .resolve("localhost:80", elsewhere)
    });
    let mesh = build(builder).await;
    assert_eq!(ask(&mesh, &issuer).await, 401);
    let failed = log.with(&["keys could not be fetched", "no loopback address"]);
    assert!(!failed.is_empty(), "{}", log.text());
}

/// An issuer elsewhere sends nobody to a server of this machine.
#[tokio::test]
async fn discovery_over_https_does_not_lead_to_plain_http() {
    let pki = pki();
    let issuer = Issuer::es256("https://issuer.test");
    let keys = JwksServer::start_plaintext(&issuer).await.unwrap();
    let discovery = JwksServer::start(&pki, "issuer.test", &issuer)
        .await
        .unwrap();
    let port = keys.address().port();
    discovery.answer(format!(
        "{{\"jwks_uri\": \"http://127.0.0.1:{port}/keys\"}}"
    ));
    let yaml = users("").replace(", jwksUri: ''", "");
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let builder = open(&yaml).tokens(|tokens| {
        tokens
            .loopback_http_jwks()
            .jwks_roots(pki.root_pem())
            .resolve("issuer.test:443", discovery.address())
    });
    let mesh = build(builder).await;
    assert_eq!(ask(&mesh, &issuer).await, 401);
    let failed = log.with(&["keys could not be fetched", "forged on the way"]);
    assert!(!failed.is_empty(), "{}", log.text());
}

/// A chart that was not rendered is one sentence, with what to do.
#[tokio::test]
async fn a_helm_template_is_told_as_such() {
    let chart = "{{- if .Values.mesh.enabled }}\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: {{ include \"ward.name\" . }}\nspec:\n  rules:\n  - from: [{source: {principals: ['{{ .Values.caller }}']}}]\n{{- end }}\n";
    let error = refused(app(&pki()).config(Fixed::yaml("templates/ward.yaml", chart))).await;
    let problems = error.problems().unwrap().to_string();
    assert_eq!(
        problems,
        "templates/ward.yaml:1:1: a Helm template, which is not YAML yet; render it first: helm template RELEASE CHART > rendered.yaml"
    );
}
