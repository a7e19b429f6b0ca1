//! A refusal leaves one event: who asked for what, and which rule says no.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, Peer, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, app, authentication, build, policy, proven, serve, unproven};

const EVENT: &[&str] = &["tower_mesh::access", "request refused"];

type Body = Empty<Bytes>;

async fn hello<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::new()))
}

/// The event of one request. The limit is shared with every test of the process: a request whose
/// event is left out is sent again.
async fn event(what: &str, log: &Log, mut ask: impl AsyncFnMut() -> StatusCode) -> (u16, String) {
    let begun = Instant::now();
    loop {
        let before = log.with(EVENT).len();
        let status = ask().await.as_u16();
        let told = log.with(EVENT).split_off(before);
        assert!(told.len() <= 1, "{what}: {told:?}");
        if let [line] = told.as_slice() {
            return (status, line.clone());
        }
        assert!(begun.elapsed().as_secs() < 30, "{what}: no event");
        tokio::task::yield_now().await;
    }
}

fn policies(issuer: &Issuer) -> String {
    let denies = policy(
        "closed",
        "DENY",
        "[{to: [{operation: {paths: [/closed]}}]}]",
    );
    let reads = policy("reads", "ALLOW", "[{to: [{operation: {methods: [GET]}}]}]");
    let desk = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]";
    let desk = policy("desk", "ALLOW", desk);
    authentication(issuer) + &denies + &reads + &desk
}

async fn guarded(issuer: &Issuer) -> Mesh {
    let pki = Pki::new("cluster.local").unwrap();
    let builder = app(&pki).config(Fixed::yaml("policies.yaml", policies(issuer)));
    builder.build().await.unwrap().0
}

struct Row {
    name: &'static str,
    peer: Peer,
    request: http::request::Builder,
    status: u16,
    has: &'static [&'static str],
}

fn rows(issuer: &Issuer) -> Vec<Row> {
    let token = issuer.token().subject("alice").sign();
    let get = |uri: &str| Request::get(uri).header("host", "app.default");
    let mut rows = vec![
        Row {
            name: "a DENY rule",
            peer: proven("desk"),
            request: get("/closed?name=secret-of-alice")
                .header("authorization", format!("Bearer {token}"))
                .header("x-request-id", "7f1c")
                .header(
                    "traceparent",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                ),
            status: 403,
            has: &[
                "INFO",
                "peer=cluster.local/ns/default/sa/desk",
                "remote=10.0.0.1",
                "user=https://issuer.test/alice",
                "method=GET",
                "path=/closed ",
                "host=app.default",
                "status=403",
                "reason=rbac_access_denied_matched_policy[ns[default]-policy[closed]-rule[0]]",
                "policy=ns[default]-policy[closed]-rule[0]",
                "at=policies.yaml:12:30",
                "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
                "request_id=7f1c",
            ],
        },
        Row {
            name: "a caller without identity",
            peer: unproven(),
            request: Request::post("/reads").header("host", "user:secret@app.default"),
            status: 403,
            has: &[
                "peer=none",
                "method=POST",
                "status=403",
                "host=app.default ",
            ],
        },
        Row {
            name: "no rule allows it",
            peer: proven("stranger"),
            request: Request::post("/reads").header("host", "app.default"),
            status: 403,
            has: &[
                "peer=cluster.local/ns/default/sa/stranger",
                "reason=rbac_access_denied_matched_policy[none]",
                "asked=ns[default]-policy[desk]-rule[0] (policies.yaml:",
                ", ns[default]-policy[reads]-rule[0] (policies.yaml:",
            ],
        },
        Row {
            name: "a bad token",
            peer: proven("desk"),
            request: get("/reads?access_token=secret.of.alice")
                .header("authorization", format!("Bearer secret{token}")),
            status: 401,
            has: &[
                "status=401",
                "reason=jwt_authn_access_denied{",
                "path=/reads ",
                "asked=RequestAuthentication/default/users (policies.yaml:6:",
            ],
        },
        Row {
            name: "a header of one hop",
            peer: proven("desk"),
            request: get("/reads").header("connection", "x-forwarded-for"),
            status: 400,
            has: &["status=400", "reason=http1.connection_header_rejected"],
        },
    ];
    let long = format!("/closed/{}", "x".repeat(7000));
    rows.push(Row {
        name: "a long path",
        peer: proven("stranger"),
        request: Request::post(long).header("host", "h".repeat(9000)),
        status: 403,
        has: &["path=/closed/xxx", "x… host=hhh", "h… status=403"],
    });
    rows
}

#[tokio::test]
async fn a_refusal_of_the_mesh_leaves_one_event() {
    let issuer = Issuer::es256(ISSUER);
    let mesh = guarded(&issuer).await;
    for row in rows(&issuer) {
        let (log, _guard) = Log::listen(Level::INFO);
        let request = row.request.body(Body::new()).unwrap();
        let service = mesh.protect(service_fn(hello)).of(row.peer.clone());
        let ask = async || {
            let response = service.clone().oneshot(request.clone()).await;
            response.unwrap().status()
        };
        let (status, line) = event(row.name, &log, ask).await;
        assert_eq!(status, row.status, "{}: {line}", row.name);
        for piece in row.has {
            assert!(line.contains(piece), "{}: {piece}: {line}", row.name);
        }
        assert!(line.len() < 1500, "{}: {line}", row.name);
        let text = log.text();
        assert!(!text.contains("secret"), "{}: {text}", row.name);
    }
}

#[tokio::test]
async fn what_passes_leaves_no_event() {
    let issuer = Issuer::es256(ISSUER);
    let mesh = guarded(&issuer).await;
    let service = mesh.protect(service_fn(hello)).of(proven("desk"));
    let (log, _guard) = Log::listen(Level::INFO);
    let request = Request::get("/reads").header("host", "app.default");
    let request = request.body(Body::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(log.with(&["tower_mesh::access"]).is_empty());
}

fn rbac(rules: &str) -> RbacLayer {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&policy("closed", "DENY", rules));
    RbacLayer::new(Live::new(engine.build().unwrap()))
}

fn jwt(issuer: &Issuer) -> JwtLayer {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&authentication(issuer));
    let engine = engine.build().unwrap();
    let rules = Authenticator::compile(engine.authentication(2), &mut Keyring::new());
    JwtLayer::new(Live::new(rules.unwrap()))
}

/// Alone, over one another, and inside of a mesh that lets the request pass.
#[tokio::test]
async fn layers_alone_leave_one_event_as_the_mesh_does() {
    let issuer = Issuer::es256(ISSUER);
    // The mesh leaves the decision by which it lets a request pass.
    let pki = Pki::new("cluster.local").unwrap();
    let policies = Fixed::yaml("policies.yaml", policies(&issuer));
    let mesh = build(
        app(&pki)
            .config(policies)
            .telemetry(|telemetry| telemetry.record_allows()),
    )
    .await;
    let closed = || rbac("[{to: [{operation: {paths: [/inner*]}}]}]");
    let token = issuer.token().subject("alice").sign();
    let good = format!("Bearer {token}");
    let bad = format!("Bearer {}", issuer.token().subject("alice").tampered());
    let denied = "policy=ns[default]-policy[closed]-rule[0] at=";
    let refused = "reason=jwt_authn_access_denied{Jwt_verification_fails}";
    for (name, token, path, has) in [
        ("rbac", &good, "/inner?secret", denied),
        ("jwt", &bad, "/outer?secret", refused),
        ("jwt over rbac, by jwt", &bad, "/inner?secret", refused),
        ("jwt over rbac, by rbac", &good, "/inner?secret", denied),
        ("rbac in the mesh", &good, "/inner?secret", denied),
        (
            "rbac that asks in the mesh",
            &good,
            "/inner?secret",
            "[none] asked=ns[default]-policy[reads]-rule[0] (",
        ),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let request = || {
            let request = Request::get(path).header("host", "app.default");
            let request = request.header("authorization", token);
            let request = request.extension(proven("desk"));
            request.body(Body::new()).unwrap()
        };
        let ask = async || {
            let response = match name {
                "rbac" => {
                    let service = closed().layer(service_fn(hello));
                    service.oneshot(request()).await.unwrap().status()
                }
                "jwt" => {
                    let service = jwt(&issuer).layer(service_fn(hello));
                    service.oneshot(request()).await.unwrap().status()
                }
                "rbac that asks in the mesh" => {
                    let reads = policy("reads", "ALLOW", "[{to: [{operation: {methods: [PUT]}}]}]");
                    let workload = Workload::new("default", "app");
                    let engine = Engine::builder(&workload).yaml(&reads);
                    let layer = RbacLayer::new(Live::new(engine.build().unwrap()));
                    let service = mesh.protect(layer.layer(service_fn(hello)));
                    service.oneshot(request()).await.unwrap().status()
                }
                "rbac in the mesh" => {
                    let service = mesh.protect(closed().layer(service_fn(hello)));
                    service.oneshot(request()).await.unwrap().status()
                }
                _ => {
                    let service = jwt(&issuer).layer(closed().layer(service_fn(hello)));
                    service.oneshot(request()).await.unwrap().status()
                }
            };
            assert!(response.is_client_error(), "{name}");
            response
        };
        let (_, line) = event(name, &log, ask).await;
        assert!(line.contains(has), "{name}: {line}");
        let user = has == denied && !name.starts_with("rbac");
        assert_eq!(
            line.contains("user="),
            user || name.ends_with("mesh"),
            "{name}: {line}"
        );
        assert!(!log.text().contains("secret"), "{name}: {}", log.text());
    }
}

/// H-19: what a peer sends forges no field and no line, and shows nothing of a query.
#[tokio::test]
async fn what_a_peer_sends_stays_within_its_field() {
    let issuer = Issuer::es256(ISSUER);
    let mesh = guarded(&issuer).await;
    let odd = "al ice\" policy=forged\u{2028}INFO \u{202e}";
    let get = |path: &str| Request::get(path).header("host", "app.default");
    let alice = |subject: &str| format!("Bearer {}", issuer.token().subject(subject).sign());
    for (name, request, has) in [
        (
            "a subject",
            get("/closed").header("authorization", alice(odd)),
            r#" user="https://issuer.test/al ice\" policy=forged\u{2028}INFO \u{202e}" method="#,
        ),
        (
            "a subject that is plain",
            get("/closed").header("authorization", alice("o'neill@zürich")),
            " user=https://issuer.test/o'neill@zürich method=",
        ),
        (
            "a request id",
            get("/closed").header("x-request-id", "7 suppressed=9\u{9}x"),
            r#" request_id="7 suppressed=9\tx""#,
        ),
        (
            "a host with a space",
            Request::get("/closed").header("host", "app policy=forged"),
            r#" host="app policy=forged" status="#,
        ),
        (
            "a host with a path and a query",
            Request::get("/closed").header("host", "app.default/x?access_token=secret"),
            " host=app.default status=",
        ),
        (
            "a path that turns the direction",
            get("/closed/\u{202e}x"),
            r#" path="/closed/\u{202e}x" host"#,
        ),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let request = request.body(Body::new()).unwrap();
        let service = mesh.protect(service_fn(hello)).of(proven("stranger"));
        let ask = async || {
            let response = service.clone().oneshot(request.clone()).await;
            response.unwrap().status()
        };
        let (_, line) = event(name, &log, ask).await;
        assert!(line.contains(has), "{name}: {has}: {line}");
        assert!(!log.text().contains("secret"), "{name}: {}", log.text());
    }
}

/// A layer between the guards that gives the request another path.
#[tokio::test]
async fn the_path_of_an_event_is_the_one_that_was_judged() {
    let issuer = Issuer::es256(ISSUER);
    let renamed = tower::util::MapRequestLayer::new(|mut request: Request<Body>| {
        *request.uri_mut() = "/inner".parse().unwrap();
        request
    });
    let (log, _guard) = Log::listen(Level::INFO);
    let ask = async || {
        let closed = rbac("[{to: [{operation: {paths: [/inner]}}]}]");
        let inner = renamed.clone().layer(closed.layer(service_fn(hello)));
        let request = Request::get("/outer").header("host", "app.default");
        let request = request.extension(proven("desk")).body(Body::new()).unwrap();
        let response = jwt(&issuer).layer(inner).oneshot(request).await;
        response.unwrap().status()
    };
    let (status, line) = event("another path", &log, ask).await;
    assert_eq!(status, 403);
    assert!(line.contains(" path=/inner host="), "{line}");
}

/// Whatever stands on the wire, a refusal is one event, with nothing in it that is secret.
#[tokio::test]
async fn odd_requests_on_the_wire_leave_one_event_each() {
    let workload = Workload::new("default", "app").service("app", 8443);
    let builder = Mesh::danger().plaintext(workload);
    let nothing = policy(
        "nothing",
        "ALLOW",
        "[{to: [{operation: {paths: [/none]}}]}]",
    );
    let builder = builder.config(Fixed::yaml("p.yaml", nothing));
    let served = serve(&build(builder).await, axum::Router::new()).await;
    let secrets =
        "cookie: session=secret\r\nauthorization: Basic secret\r\nreferer: http://x/?secret\r\n";
    let long = "M".repeat(300);
    for (line, host, has) in [
        (
            "CONNECT app.default:443",
            Some(&b"app.default:443"[..]),
            "method=CONNECT path= host=app.default:443 status=403",
        ),
        (
            "OPTIONS *",
            Some(b"app.default"),
            "method=OPTIONS path=* host=app.default",
        ),
        (
            "GET http://user:secret@app.default/x?secret",
            Some(b"app.default"),
            "method=GET path=/x host=app.default",
        ),
        (
            "PROPFIND /x?secret#secret",
            Some(b"app.default"),
            "method=PROPFIND path=/x",
        ),
        ("GET /x", Some(b"\xff\xfe"), "path=/x status="),
        ("GET /x", Some(b"user:secret@app"), "host=app status="),
        ("GET /x", None, "reason=missing_host_header"),
        (
            "GET /a%0aINFO%20forged",
            Some(b"app"),
            "path=/a%0aINFO%20forged host=app",
        ),
        (&long, Some(b"app"), "method=MMM"),
    ] {
        let line = if line == long {
            format!("{line} /x")
        } else {
            line.to_owned()
        };
        let (log, _guard) = Log::listen(Level::INFO);
        let mut sent = format!("{line} HTTP/1.1\r\n{secrets}connection: close\r\n").into_bytes();
        if let Some(host) = host {
            sent.extend([b"host: ", host, b"\r\n"].concat());
        }
        sent.extend(b"\r\n");
        let ask = async || {
            let mut stream = tokio::net::TcpStream::connect(served.address)
                .await
                .unwrap();
            stream.write_all(&sent).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
                .split(' ')
                .nth(1)
                .unwrap()
                .parse::<StatusCode>()
                .unwrap()
        };
        let (_, told) = event(&line, &log, ask).await;
        assert!(told.contains(has), "{has}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
