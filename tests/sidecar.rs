//! The sidecar example as its users run it: a process in front of an application that knows nothing of meshes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::SpiffeId;
use tower_mesh::testing::{Issuer, Leaf, Pki};
use tower_mesh::{Mesh, Workload};

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: front, namespace: default}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: [/open, '/open/*']}}]
  - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
    to: [{operation: {paths: [/closed]}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_a_plaintext_application_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), application().await, &[]);
    assert_eq!(get(sidecar.address, "/open").await, "200 GET /open");
    // Policy and application see the same path, whatever was sent.
    assert_eq!(get(sidecar.address, "/x/../open").await, "200 GET /open");
    assert_eq!(
        get(sidecar.address, "/open/../closed").await,
        "403 RBAC: access denied"
    );
    assert_eq!(sidecar.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_503_when_the_application_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let sidecar = Sidecar::start(directory.path(), nobody, &[]);
    assert!(get(sidecar.address, "/open").await.starts_with("503"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knows_its_callers_by_their_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/front";
    let issued = pki.issue(&Leaf::workload(id)).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (
        file("tls.crt", &issued.chain_pem()),
        file("tls.key", &issued.key_pem()),
    );
    let ca = file("ca.crt", &pki.root_pem());
    let files = [
        "--cert", &cert, "--key", &key, "--ca", &ca, "--mode", "strict",
    ];
    let sidecar = Sidecar::start(directory.path(), application().await, &files);

    for (caller, expected) in [("desk", 200), ("other", 403)] {
        let (mesh, driver) = Mesh::builder(
            Workload::new("default", caller),
            pki.identity("default", caller).unwrap(),
        )
        .upstream(
            "front.default",
            [sidecar.address],
            [SpiffeId::new(id).unwrap()],
        )
        .build()
        .await
        .unwrap();
        tokio::spawn(driver.run());
        let response = mesh
            .client()
            .get("http://front.default/closed")
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{caller}");
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(
        get(sidecar.address, "/open").await,
        "",
        "plaintext to a STRICT port"
    );
}

#[test]
fn refuses_to_start_on_a_policy_with_a_typo() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("policy.yaml");
    std::fs::write(&config, POLICY.replace("principals", "principles")).unwrap();
    let output = command(&config, "127.0.0.1:1".parse().unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("policy.yaml:8:") && told.contains("principles"),
        "{told}"
    );
}

/// Rules on tokens and headers, and a token that fills a header.
fn users(issuer: &Issuer) -> String {
    format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users, namespace: default}}
spec:
  jwtRules:
  - issuer: {}
    jwks: '{}'
    forwardOriginalToken: true
    outputPayloadToHeader: x-user
    outputClaimToHeaders: [{{header: x-subject, claim: sub}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: front, namespace: default}}
spec:
  rules:
  - to: [{{operation: {{paths: [/open]}}}}]
  - to: [{{operation: {{paths: [/user]}}}}]
    from: [{{source: {{requestPrincipals: ['*']}}}}]
  - to: [{{operation: {{paths: [/room]}}}}]
    when: [{{key: 'request.headers[x-room]', values: ['7']}}]
  - to: [{{operation: {{paths: [/host], hosts: [front]}}}}]
",
        issuer.name(),
        issuer.jwks()
    )
}

/// H-17: what is for one hop is taken off before anybody judges, and nothing after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_header_removes_nothing_that_guards_set_or_judged() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let sidecar = Sidecar::with(directory.path(), &users(&issuer), recorder().await, &[]);
    let token = issuer.token().subject("alice").sign();
    let ask = async |path: &str, connection: &str, more: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: front\r\nauthorization: Bearer {token}\r\nconnection: {connection}\r\n{more}\r\n"
        );
        send(sidecar.address, request.as_bytes()).await
    };
    let subject = "x-subject: alice";
    for connection in [
        "close",
        "close, x-user, x-subject",
        "x-subject, X-User, close",
        "close, x-request-id, traceparent",
        "close, content-length, transfer-encoding",
        "close, te, upgrade, keep-alive",
        "close, x-envoy-peer-metadata, x-forwarded-client-cert",
    ] {
        let (status, seen) = ask("/user", connection, "").await;
        assert_eq!(status, 200, "{connection}: {seen}");
        for header in [
            subject,
            "x-user: ",
            "authorization: Bearer ",
            "x-request-id: ",
            "host: front",
        ] {
            assert!(seen.contains(header), "{connection}: {seen}");
        }
        assert!(!seen.contains("connection: "), "{connection}: {seen}");
    }
    // A client cannot set what a token fills, in whatever way it takes its own away again.
    let (status, seen) = ask("/user", "close, x-subject", "x-subject: root\r\n").await;
    assert_eq!(status, 200);
    assert!(seen.contains(subject) && !seen.contains("root"), "{seen}");
    // A token that is for this hop only is no token.
    assert_eq!(ask("/user", "close, authorization", "").await.0, 403);
    let (status, seen) = ask("/open", "close, authorization", "").await;
    assert_eq!(status, 200);
    assert!(!seen.contains("authorization"), "{seen}");
    // What policy judged is what arrives.
    let room = "x-room: 7\r\n";
    let (status, seen) = ask("/room", "close", room).await;
    assert!(status == 200 && seen.contains("x-room: 7"), "{seen}");
    assert_eq!(ask("/room", "close, x-room", room).await.0, 403);
    for refused in [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "host",
        "Host",
        ":path",
    ] {
        let (status, _) = ask("/user", &format!("close, {refused}"), "").await;
        assert_eq!(status, 400, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_arrives_whole_whatever_a_connection_header_names() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let sidecar = Sidecar::with(directory.path(), &users(&issuer), recorder().await, &[]);
    for (named, framed) in [
        ("content-length", "content-length: 3\r\n\r\nabc"),
        (
            "transfer-encoding",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let request =
            format!("POST /open HTTP/1.1\r\nhost: front\r\nconnection: close, {named}\r\n{framed}");
        let (status, seen) = send(sidecar.address, request.as_bytes()).await;
        assert_eq!(status, 200);
        assert!(seen.contains("abc"), "{named}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_gets_the_host_alone_and_nobodys_password() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let sidecar = Sidecar::with(directory.path(), &users(&issuer), recorder().await, &[]);
    for (target, host, status) in [
        ("http://user:secret@front/host", "front", 200),
        ("http://user:secret@front/host", "other", 200),
        ("http://front/host", "user:secret@front", 200),
        ("/host", "user:secret@front", 200),
        ("http://front@other/host", "front", 403),
        ("http://other/host", "front", 403),
        ("/host", "front@other", 403),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let (got, seen) = send(sidecar.address, request.as_bytes()).await;
        assert_eq!(got, status, "{target} {host}: {seen}");
        if status == 200 {
            assert!(
                seen.contains("host: front\r\n") && seen.starts_with("GET /host "),
                "{seen}"
            );
            assert!(!seen.contains("secret") && !seen.contains('@'), "{seen}");
        }
    }
}

/// B-01, B-02, B-03, B-05, B-06, B-07, B-08, B-12, B-13 and B-15 over a socket; `tests/envoy/run.sh`
/// compares many more requests with a real Envoy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_requests_get_the_answers_of_istios_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), recorder().await, &[]);
    let large = format!(
        "GET /open HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n",
        "b".repeat(61 * 1024)
    );
    for (head, status) in [
        ("GET /open HTTP/1.1\r\nhost: a\r\n", 200),
        // Policy and the application see what is left of a target with a fragment.
        ("GET /open#/closed HTTP/1.1\r\nhost: a\r\n", 200),
        ("GET /closed#/open HTTP/1.1\r\nhost: a\r\n", 403),
        ("get /open HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /open HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("GET /open HTTP/1.1\r\n", 400),
        ("GET /open HTTP/1.0\r\nhost: a\r\n", 426),
        ("GET http://x@y@a/open HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n", 403),
        ("GET /open%00 HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /open%zz HTTP/1.1\r\nhost: a\r\n", 400),
        (
            "GET /open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n",
            400,
        ),
        ("GET /open HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n", 400),
        (large.as_str(), 431),
    ] {
        let request = format!("{head}connection: close\r\n\r\n0\r\n\r\n");
        let (got, seen) = send(sidecar.address, request.as_bytes()).await;
        let head: String = head.chars().take(100).collect();
        assert_eq!(got, status, "{head}: {seen}");
        if status == 200 {
            assert!(seen.starts_with("GET /open HTTP/1.1\r\n"), "{seen}");
        }
    }
}

/// B-13, RFC 9112 §6.1: of two lengths of a body the chunks count, no other reaches the
/// application, and nothing more is read from the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_chunks_neither_counts_nor_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), recorder().await, &[]);
    let (length, chunked) = ("content-length: 60\r\n", "transfer-encoding: chunked\r\n");
    for lines in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let request = format!(
            "GET /open HTTP/1.1\r\nhost: a\r\n{lines}\r\n3\r\nabc\r\n0\r\n\r\nGET /open/2 HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let (status, seen) = send(sidecar.address, request.as_bytes()).await;
        assert_eq!(status, 200);
        assert!(
            seen.contains(chunked) && seen.contains("\r\nabc\r\n"),
            "{seen}"
        );
        assert!(!seen.contains("content-length"), "{seen}");
        assert!(!seen.contains("HTTP/1.1 "), "a second answer: {seen}");
    }
}

/// B-13: who reads a request in two ways may find two ends of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_behind_a_request_that_the_gate_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), recorder().await, &[]);
    let second = "GET /open HTTP/1.1\r\nhost: a\r\n\r\n";
    for first in [
        "GET /open HTTP/1.1\r\n\r\n",
        "GET /open%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let request = format!("{first}{second}");
        let (status, rest) = send(sidecar.address, request.as_bytes()).await;
        assert_eq!((status, rest.as_str()), (400, ""), "{first}");
    }
}

/// B-13: the fault of a body that breaks off is the client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_framed_badly_gets_400() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), recorder().await, &[]);
    let head = "GET /open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for size in ["g", "2", "-3"] {
        let request = format!("{head}{size}\r\nabc\r\n0\r\n\r\n");
        let (status, seen) = send(sidecar.address, request.as_bytes()).await;
        assert_eq!(status, 400, "{size}: {seen}");
    }
}

/// H-16, RFC 9110 §6.5.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_carry_no_identity() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let sidecar = Sidecar::with(directory.path(), &users(&issuer), recorder().await, &[]);
    let identities = [
        "x-user",
        "x-subject",
        "X-Subject",
        "x_subject",
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x-envoy-internal",
        "x-request-id",
        "traceparent",
        "host",
        "x-room",
    ];
    let names = identities.join(", ");
    let fields: String = identities
        .iter()
        .map(|name| format!("{name}: evil\r\n"))
        .collect();
    let request = format!(
        "POST /open HTTP/1.1\r\nhost: front\r\nconnection: close\r\nx-room: 7\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, {names}\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n{fields}\r\n"
    );
    let (status, seen) = send(sidecar.address, request.as_bytes()).await;
    assert_eq!(status, 200);
    assert!(seen.contains("abc") && seen.contains("x-sum: 42"), "{seen}");
    assert!(!seen.contains("evil"), "{seen}");
}

/// Nobody has judged what comes behind the body: no token, and no header that a policy asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_carry_nothing_that_guards_would_have_judged() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let place = "    fromHeaders: [{name: X-Jwt}]\n    forwardOriginalToken: true\n";
    let policy = users(&issuer).replace("    forwardOriginalToken: true\n", place);
    let sidecar = Sidecar::with(directory.path(), &policy, recorder().await, &[]);
    let fields = "x-sum: 42\r\nx-jwt: evil\r\nx_jwt: evil\r\nx-room: evil\r\nX_Room: evil\r\n";
    let request = format!(
        "POST /open HTTP/1.1\r\nhost: front\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-jwt, x_jwt, x-room, x_room\r\n\r\n3\r\nabc\r\n0\r\n{fields}\r\n"
    );
    let (status, seen) = send(sidecar.address, request.as_bytes()).await;
    assert_eq!(status, 200);
    assert!(
        seen.contains("x-sum: 42") && !seen.contains("evil"),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_trailers_are_asked_of_the_application() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let sidecar = Sidecar::with(directory.path(), &users(&issuer), recorder().await, &[]);
    for (te, asked) in [
        ("gzip", None),
        ("gzip, trailers", Some("te: trailers\r\n")),
        ("trailers", Some("te: trailers\r\n")),
        ("trailers;q=0.5, deflate", None),
    ] {
        for connection in ["close", "close, te"] {
            let request = format!(
                "GET /open HTTP/1.1\r\nhost: front\r\nconnection: {connection}\r\nte: {te}\r\nkeep-alive: 5\r\nproxy-connection: a\r\nx-envoy-internal: true\r\nx-forwarded-client-cert: By=a\r\n\r\n"
            );
            let (status, seen) = send(sidecar.address, request.as_bytes()).await;
            assert_eq!(status, 200);
            match asked {
                Some(asked) => assert!(seen.contains(asked), "{te}: {seen}"),
                None => assert!(!seen.contains("te: "), "{te}: {seen}"),
            }
            for gone in [
                "keep-alive",
                "proxy-connection",
                "x-envoy-internal",
                "client-cert",
            ] {
                assert!(!seen.contains(gone), "{seen}");
            }
        }
    }
}

/// The same over HTTP/2, both ways: the host in `:authority`, and what may stand in trailers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_carries_the_host_and_the_trailers_too() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::es256("https://issuer.test");
    let application = recorder_of_http2().await;
    let policy = users(&issuer);
    let sidecar = Sidecar::with(directory.path(), &policy, application, &["--upstream-h2"]);
    let stream = TcpStream::connect(sidecar.address).await.unwrap();
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = made.await.unwrap();
    tokio::spawn(connection);
    for (target, host, status) in [
        ("http://front/host", None, 200),
        ("http://front/host", Some("other"), 200),
        ("http://other/host", Some("front"), 403),
        ("http://user@front/host", None, 400),
        ("http://front/host", Some("user@front"), 400),
    ] {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-sum",
            "x-user",
            "x_subject",
            "authorization",
            "x-forwarded-client-cert",
        ] {
            let value = if name == "x-sum" { "42" } else { "evil" };
            trailers.insert(name, HeaderValue::from_static(value));
        }
        let trailers = std::future::ready(Some(Ok(trailers)));
        let body = Full::new(Bytes::from("abc")).with_trailers(trailers);
        let mut request = Request::post(target)
            .header("te", "trailers")
            .body(body)
            .unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        let answer = sender.send_request(request).await.unwrap();
        let case = format!("{target} {host:?}");
        assert_eq!(answer.status(), status, "{case}");
        if status == 200 {
            let seen = answer.into_body().collect().await.unwrap().to_bytes();
            let seen = String::from_utf8_lossy(&seen).into_owned();
            assert!(
                seen.starts_with("front ") && seen.contains("x-sum"),
                "{case} {seen}"
            );
            assert!(
                !seen.contains("evil") && !seen.contains("user@"),
                "{case} {seen}"
            );
        }
    }
}

/// A process of the example; ended when it is dropped.
struct Sidecar {
    process: Child,
    address: SocketAddr,
}

impl Sidecar {
    fn start(directory: &Path, upstream: SocketAddr, more: &[&str]) -> Self {
        Self::with(directory, POLICY, upstream, more)
    }

    fn with(directory: &Path, policy: &str, upstream: SocketAddr, more: &[&str]) -> Self {
        let config = directory.join("policy.yaml");
        std::fs::write(&config, policy).unwrap();
        let mut process = command(&config, upstream)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening ")
            .unwrap_or_else(|| panic!("printed {line:?}"));
        let address = address.parse().unwrap();
        Self { process, address }
    }

    /// Asks it to end, and says with which code it did.
    fn terminate(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap().code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(config: &Path, upstream: SocketAddr) -> Command {
    let mut command = Command::new(binary());
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            &upstream.to_string(),
            "--workload",
            "default/front",
        ])
        .arg("--config")
        .arg(config);
    command
}

/// `cargo test` builds the examples, and puts them beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join("sidecar");
    assert!(
        binary.exists(),
        "build it first: cargo build --example sidecar"
    );
    binary
}

async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app: Router =
        Router::new().fallback(|method: Method, uri: Uri| async move { format!("{method} {uri}") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An application that answers with each request as it came, head, body and trailers.
async fn recorder() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !is_whole(&seen) {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    seen.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &seen].concat()).await;
            });
        }
    });
    address
}

/// An application that speaks HTTP/2 only, and answers with authority, head and trailers.
async fn recorder_of_http2() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tell = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let authority = head.uri.authority().unwrap();
        let told = format!("{authority} {:?} {:?}", head.headers, body.trailers());
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(told))))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), tell));
        }
    });
    address
}

/// Whether an HTTP/1.1 request has come with its body and trailers.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("\r\ntransfer-encoding: chunked") {
        let last = body
            .split_once("0\r\n")
            .filter(|(data, _)| data.is_empty() || data.ends_with("\r\n"));
        return last.is_some_and(|(_, rest)| rest == "\r\n" || rest.ends_with("\r\n\r\n"));
    }
    let length = head.split_once("\r\ncontent-length: ").map(|(_, rest)| {
        let digits = rest.split("\r\n").next().unwrap_or_default();
        digits.parse::<usize>().unwrap()
    });
    body.len() >= length.unwrap_or(0)
}

/// Status and body of the answer to these bytes.
async fn send(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.unwrap_or(0), body.unwrap_or_default())
}

/// Status and body of a plain HTTP/1.1 call; empty when there is no answer.
async fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut is an answer, too.
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    format!("{status} {body}").trim().to_owned()
}
