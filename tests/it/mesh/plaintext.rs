//! A mesh without certificates, for development: no TLS, no identities, and every other rule.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::TrustDomain;
use tower_mesh::mesh::{ClientBody, IdentityState, RefusalReason};
use tower_mesh::propagation::{EdgeTrace, Propagation};
use tower_mesh::source::{Directory, Fixed, Watch};
use tower_mesh::testing::Issuer;
use tower_mesh::tls::{Mode, Protocol};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{
    ISSUER, authentication, build, lines, pass, pass_until, policy, serve, settle, still, write,
};

fn plaintext(name: &str) -> MeshBuilder {
    let workload = Workload::new("default", name).service(name, 8443);
    Mesh::danger().plaintext(workload)
}

/// Says the version of each request, and who called.
fn echo() -> Router {
    Router::new().fallback(any(|request: axum::extract::Request| async move {
        let peer = request.extensions().get::<Peer>();
        let principal = peer.and_then(Peer::principal).unwrap_or("no identity");
        format!("{:?} by {principal}", request.version())
    }))
}

async fn caller(app: SocketAddr, id: tower_mesh::identity::SpiffeId) -> Mesh {
    build(plaintext("desk").upstream("app.default", [app], [id])).await
}

async fn call(client: &Mesh, request: http::request::Builder) -> Response<String> {
    let request = request.body(ClientBody::empty()).unwrap();
    let answer = client.client().request(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_rule_holds_but_those_that_read_identities() {
    let issuer = Issuer::es256(ISSUER);
    let rules = "[{to: [{operation: {paths: [/open]}}]}, \
        {from: [{source: {principals: ['*']}}], to: [{operation: {paths: [/identity]}}]}, \
        {from: [{source: {requestPrincipals: ['*']}}], to: [{operation: {paths: [/user], methods: [GET]}}]}, \
        {to: [{operation: {paths: [/never]}}]}]";
    let never = "[{to: [{operation: {paths: [/never]}}]}]";
    let identity = "[{from: [{source: {principals: ['*']}}], to: [{operation: {paths: [/open]}}]}]";
    let policies = [
        authentication(&issuer),
        policy("allow", "ALLOW", rules),
        policy("deny", "DENY", never),
        policy("deny-identities", "DENY", identity),
    ];
    let policies = policies.concat();
    let mesh = build(plaintext("app").config(Fixed::yaml("policies.yaml", policies))).await;
    let served = serve(&mesh, echo()).await;
    let desk = caller(served.address, mesh.spiffe_id()).await;
    let (good, bad) = (
        issuer.token().subject("alice").sign(),
        "no.such.token".into(),
    );
    let rows = [
        ("GET", "/open", None, 200),
        ("GET", "/open", Some(&bad), 401),
        ("GET", "/identity", None, 403),
        ("GET", "/user", None, 403),
        ("GET", "/user", Some(&good), 200),
        ("PUT", "/user", Some(&good), 403),
        ("GET", "/never", Some(&good), 403),
    ];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (method, path, token, expected) in rows {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("http://app.default{path}"))
                .version(version);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = call(&desk, request).await;
            assert_eq!(
                answer.status(),
                expected,
                "{method} {path} {token:?} {version:?}"
            );
            if expected == 200 {
                assert_eq!(*answer.body(), format!("{version:?} by no identity"));
            }
        }
    }
    let none = r#"connection_security_policy="none""#;
    let anonymous = r#"source_principal="unknown""#;
    let ours = r#"destination_principal="unknown""#;
    let requests = lines(
        &mesh,
        "istio_requests_total",
        &[r#"reporter="destination""#],
    );
    assert!(!requests.is_empty());
    for line in requests {
        let is_plain = [none, anonymous, ours]
            .iter()
            .all(|label| line.contains(label));
        assert!(is_plain, "{line}");
    }
    let calls = lines(
        &desk,
        "istio_requests_total",
        &[r#"reporter="source""#, r#"response_code="200""#],
    );
    assert!(!calls.is_empty());
}

/// HTTP/2 by prior knowledge, through the client and through a connector under a client of one's own.
#[tokio::test]
async fn grpc_goes_in_plaintext_in_both_directions() {
    let mesh = build(plaintext("app")).await;
    let served = serve(&mesh, echo()).await;
    let desk = caller(served.address, mesh.spiffe_id()).await;
    let request = Request::post("http://app.default/clinic.v1.Patients/Get")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let answer = call(&desk, request).await;
    assert_eq!(answer.body(), "HTTP/2.0 by no identity");

    let endpoint = tonic::transport::Endpoint::from_static("http://app.default");
    let connected = endpoint
        .connect_with_connector(desk.connector(Protocol::Http2))
        .await;
    let mut channel = connected.unwrap();
    std::future::poll_fn(|cx| tower_service::Service::<Request<_>>::poll_ready(&mut channel, cx))
        .await
        .unwrap();
    let request = Request::post("http://app.default/clinic.v1.Patients/Get")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = tower_service::Service::call(&mut channel, request)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Elsewhere a caller without identity is outside the mesh, and its trace restarts.
#[tokio::test]
async fn traces_go_on_from_workload_to_workload() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let app = Router::new().fallback(any(|| async {
        let trace = tower_mesh::context::current_trace().unwrap();
        trace.trace_id.to_string()
    }));
    for (edge_trace, goes_on) in [(None, true), (Some(EdgeTrace::Restart), false)] {
        let mut builder = plaintext("app");
        if let Some(edge_trace) = edge_trace {
            builder = builder.telemetry(|telemetry| {
                telemetry.propagation(Propagation::new().edge_trace(edge_trace))
            });
        }
        let mesh = build(builder).await;
        let served = serve(&mesh, app.clone()).await;
        let traceparent = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request =
            format!("GET / HTTP/1.1\r\nhost: app\r\n{traceparent}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.ends_with(TRACE), goes_on, "{edge_trace:?}: {answer}");
    }
}

/// Under another server, too.
#[tokio::test]
async fn axum_serves_a_mesh_in_plaintext() {
    let rules = "[{to: [{operation: {paths: [/open]}}]}]";
    let policies = Fixed::yaml("policies.yaml", policy("allow", "ALLOW", rules));
    let mesh = build(plaintext("app").config(policies)).await;
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let app = mesh.make(echo());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let desk = caller(address, mesh.spiffe_id()).await;
    for (path, expected) in [("/open", 200), ("/other", 403)] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let request = Request::get(format!("http://app.default{path}")).version(version);
            let answer = call(&desk, request).await;
            assert_eq!(answer.status(), expected, "{path} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_mesh_in_plaintext_says_what_it_is() {
    let mesh = build(plaintext("app")).await;
    assert!(mesh.credentials().is_none());
    assert_eq!(
        mesh.spiffe_id().as_str(),
        "spiffe://cluster.local/ns/default/sa/app"
    );
    let readiness = mesh.readiness();
    assert_eq!(readiness.identity, IdentityState::Plaintext);
    assert!(readiness.is_ready());
    let text = readiness.to_string();
    assert!(text.contains("development only"), "{text}");
    let identity = lines(&mesh, "mesh_identity_", &[]);
    assert_eq!(identity, Vec::<String>::new(), "there is none to be shown");
}

/// Nothing proves it, so it is whatever is stated: by the workload, else by the MeshConfig.
#[tokio::test]
async fn the_id_in_plaintext_is_of_the_trust_domain_that_is_stated() {
    let own = TrustDomain::new("own.example").unwrap();
    for (own, mesh_config, expected) in [
        (None, "", "cluster.local"),
        (None, "trustDomain: prod.example", "prod.example"),
        (Some(own), "trustDomain: prod.example", "own.example"),
    ] {
        let mut workload = Workload::new("default", "app");
        if let Some(own) = own {
            workload = workload.trust_domain(own);
        }
        let builder = Mesh::danger().plaintext(workload);
        let open = policy("open", "ALLOW", "[{}]");
        let source = Fixed::yaml("p.yaml", open).mesh_config("mesh.yaml", mesh_config);
        let mesh = build(builder.config(source)).await;
        assert_eq!(mesh.spiffe_id().trust_domain().as_str(), expected);
    }
}

#[tokio::test]
async fn only_http_uris_are_called_in_plaintext() {
    let mesh = build(plaintext("app")).await;
    let served = serve(&mesh, echo()).await;
    let desk = caller(served.address, mesh.spiffe_id()).await;
    let request = Request::get("https://app.default/open").body(ClientBody::empty());
    assert!(desk.client().request(request.unwrap()).await.is_err());
}

#[tokio::test]
async fn what_asks_for_tls_beside_plaintext_is_a_mistake() {
    let rows = [
        ("mode", plaintext("app").mode(Mode::Strict)),
        ("mode", plaintext("app").mode(Mode::Permissive)),
    ];
    for (option, builder) in rows {
        let error = builder.build().await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("MeshBuilder::{option}")),
            "{option}: {error}"
        );
    }
    for meant in [
        plaintext("app").mode(Mode::Disable),
        plaintext("app").mode_otherwise(Mode::Strict),
    ] {
        build(meant).await;
    }
}

fn peers(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{{name}}}\nspec: {spec}\n---\n"
    )
}

const LEGACY: &str = "apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {peers: [{mtls: {}}]}\n---\n";

#[tokio::test]
async fn strict_resources_are_refused_with_their_place_and_a_remedy() {
    let first = "# a comment\n".to_owned();
    let refused = [
        peers("name: ours", "{mtls: {mode: STRICT}}"),
        peers(
            "name: mesh, namespace: istio-system",
            "{mtls: {mode: STRICT}}",
        ),
        peers(
            "name: port",
            "{selector: {matchLabels: {app: app}}, portLevelMtls: {8443: {mode: STRICT}}}",
        ),
        LEGACY.to_owned(),
    ];
    let labelled = || {
        let workload = Workload::new("default", "app").label("app", "app");
        let workload = workload.service("app", 8443);
        Mesh::danger().plaintext(workload)
    };
    for resource in refused {
        let text = first.clone() + &resource;
        let built = labelled().config(Fixed::yaml("modes.yaml", &text)).build();
        let error = built.await.unwrap_err();
        let problems = error.problems().unwrap().to_string();
        for part in ["modes.yaml:2", "STRICT", "PERMISSIVE"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }
    let accepted = [
        peers("name: ours", "{mtls: {mode: PERMISSIVE}}"),
        peers("name: ours", "{mtls: {mode: DISABLE}}"),
        peers(
            "name: other, namespace: elsewhere",
            "{mtls: {mode: STRICT}}",
        ),
        peers(
            "name: other",
            "{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}",
        ),
        peers(
            "name: mesh, namespace: istio-system",
            "{mtls: {mode: STRICT}}",
        ) + &peers("name: ours", "{mtls: {mode: PERMISSIVE}}"),
    ];
    for resource in accepted {
        let built = labelled().config(Fixed::yaml("modes.yaml", &resource));
        let built = built.build().await;
        assert!(built.is_ok(), "{resource}: {built:?}");
    }
}

/// What another resource overrides is not to blame.
#[tokio::test]
async fn only_what_makes_a_port_strict_is_blamed() {
    let root = |name: &str| {
        peers(
            &format!("name: {name}, namespace: istio-system"),
            "{mtls: {mode: STRICT}}",
        )
    };
    let open = peers("name: ours", "{mtls: {mode: PERMISSIVE}}");
    let port = "{selector: {matchLabels: {app: app}}, portLevelMtls: {8443: {mode: STRICT}}}";
    let port = peers("name: port", port);
    let legacy = "apiVersion: authentication.istio.io/v1alpha1\nkind: MeshPolicy\nmetadata: {name: default}\nspec: {peers: [{mtls: {}}]}\n---\n";
    let aged = |name: &str, year: u16| {
        root(name).replace(
            "}\nspec",
            &format!(", creationTimestamp: '{year}-01-01T00:00:00Z'}}\nspec"),
        )
    };
    for (resources, blamed) in [
        (root("mesh") + &open + &port, vec!["\"port\""]),
        (legacy.to_owned(), vec!["MeshPolicy \"default\""]),
        // Without the older one the other would.
        (
            aged("old", 2020) + &aged("new", 2024),
            vec!["\"old\"", "\"new\""],
        ),
    ] {
        let workload = Workload::new("default", "app").label("app", "app");
        let workload = workload.service("app", 8443);
        let builder = Mesh::danger().plaintext(workload);
        let built = builder.config(Fixed::yaml("modes.yaml", &resources));
        let error = built.build().await.map(drop).unwrap_err();
        let problems = error.problems().unwrap().to_string();
        assert_eq!(problems.lines().count(), blamed.len(), "{problems}");
        for name in blamed {
            assert!(problems.contains(name), "{name}: {problems}");
        }
    }
}

/// Callers have no identity, so they are none of those that a rule excepts.
#[tokio::test]
async fn rules_that_except_identities_match_every_caller() {
    let by = |field: &str, action: &str| {
        let rules = format!("[{{from: [{{source: {{{field}: [cluster.local/ns/a/sa/b]}}}}]}}]");
        policy("p", action, &rules)
    };
    for (field, action, expected) in [
        ("principals", "ALLOW", 403),
        ("namespaces", "ALLOW", 403),
        ("principals", "DENY", 200),
        ("notPrincipals", "DENY", 403),
        ("notNamespaces", "DENY", 403),
        ("notPrincipals", "ALLOW", 200),
        ("notNamespaces", "ALLOW", 200),
    ] {
        let yaml = by(field, action);
        let mesh = build(plaintext("app").config(Fixed::yaml("p.yaml", yaml))).await;
        let served = serve(&mesh, echo()).await;
        let desk = caller(served.address, mesh.spiffe_id()).await;
        let answer = call(&desk, Request::get("http://app.default/")).await;
        assert_eq!(answer.status(), expected, "{action} by {field}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_tls_is_not_served() {
    let mesh = build(plaintext("app")).await;
    let served = serve(&mesh, echo()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    // The head of a record, and of a ClientHello in it.
    stream
        .write_all(b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_ne!(answer.first(), Some(&0x16), "no TLS record");
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400"),
        "{text}"
    );
}

#[tokio::test]
async fn a_reload_that_makes_a_port_strict_is_refused() {
    let _still = still();
    let directory = tempfile::tempdir().unwrap();
    let open = policy("open", "ALLOW", "[{to: [{operation: {paths: [/open]}}]}]");
    write(directory.path(), &open);
    let watch = Watch::new(Directory::new(directory.path()));
    let mesh = build(plaintext("app").config(watch)).await;
    let served = serve(&mesh, echo()).await;
    let desk = caller(served.address, mesh.spiffe_id()).await;
    let strict = peers("name: ours", "{mtls: {mode: STRICT}}");
    write(directory.path(), &(open + &strict));
    pass_until("the change to be refused", || {
        mesh.readiness().refused.is_some()
    })
    .await;
    let refused = mesh.readiness().refused.unwrap();
    assert_eq!(refused.reason, RefusalReason::Strict);
    let problems = refused.problems.to_string();
    assert!(problems.contains("policies.yaml:6"), "{problems}");
    assert!(mesh.readiness().is_ready());
    let counted = lines(&mesh, "mesh_config_refusals_total", &[r#"reason="strict""#]);
    assert!(counted[0].ends_with(" 1"), "{counted:?}");
    let answer = call(&desk, Request::get("http://app.default/open")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_log_warns_at_the_start_and_each_hour() {
    let _still = still();
    let (log, _guard) = Log::listen(Level::WARN);
    let warnings = || {
        let pieces = ["tower_mesh::mesh", "plaintext: no TLS", "development only"];
        log.with(&pieces).len()
    };
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = address.local_addr().unwrap();
    let id = plaintext("app").build().await.unwrap().0.spiffe_id();
    assert_eq!(warnings(), 1);
    let builder = plaintext("desk").upstream("app.default", [address], [id]);
    let (_mesh, driver) = builder.build().await.unwrap();
    assert_eq!(warnings(), 2);
    let hosts = log.with(&["upstreams=1", "identities of upstreams are not checked"]);
    assert_eq!(hosts.len(), 1);
    let driving = tokio::spawn(driver.run());
    for hour in 1..=3 {
        settle().await;
        pass(Duration::from_secs(3599)).await;
        settle().await;
        assert_eq!(warnings(), 1 + hour);
        pass(Duration::from_secs(2)).await;
        settle().await;
        assert_eq!(warnings(), 2 + hour);
    }
    driving.abort();
}
