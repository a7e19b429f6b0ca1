//! Bad input and faults at the composed mesh: each is a clear error or refusal, and takes nothing else down.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderValue, Request, Version};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_mesh::context::Peer;
use tower_mesh::identity::SpiffeId;
use tower_mesh::mesh::{BuildError, ClientBody, ExternalHost};
use tower_mesh::message::{EndKind, ResponseFlags};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, JwksServer, Leaf, Pki};
use tower_mesh::tls::{Credentials, Identity, Reason, Settings, X509Svid};
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{
    ISSUER, Log, app, authentication, build, caller, empty, get, get2, http1, http2, lines, pass,
    policy, read, serve, until_status,
};
use crate::tls::support::server_config;

pub(super) fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

pub(super) fn id(account: &str) -> SpiffeId {
    let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
    id.parse().unwrap()
}

pub(super) fn hello() -> Router {
    Router::new().fallback(any(|| async { "hello" }))
}

async fn refused(file: &str, yaml: &str) -> BuildError {
    let config = Fixed::yaml(file, yaml);
    app(&pki()).config(config).build().await.unwrap_err()
}

#[tokio::test]
async fn what_is_wrong_with_the_yaml_is_told_with_file_line_and_field() {
    let head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n";
    let cases = [
        ("malformed", format!("{head}spec: {{rules: ["), 4, ""),
        (
            "typo",
            format!("{head}spec:\n  rules:\n  - from:\n    - source:\n        principles: [a]\n"),
            8,
            "principles",
        ),
    ];
    for (name, yaml, line, field) in cases {
        let error = refused("desk.yaml", &yaml).await;
        let problems = error
            .problems()
            .unwrap_or_else(|| panic!("{name}: {error}"));
        let problem = &problems.as_slice()[0];
        assert!(problem.field.contains(field), "{name}: {problem}");
        let text = format!("{error:?}");
        assert!(
            text.contains(&format!("desk.yaml:{line}")),
            "{name}: {text}"
        );
        assert!(text.contains(field), "{name}: {text}");
    }
}

/// An error that can be acted on: which host, where, and what was wrong there.
#[tokio::test]
async fn a_call_that_cannot_be_made_says_which_and_why() {
    let pki = pki();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let plain = ExternalHost::plaintext().at([address]);
    let tls = ExternalHost::tls_with_roots(pki.root_pem()).at([address]);
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .upstream("app.default", [address], [id("app")])
    .outside("plain.example", plain)
    .outside("tls.example:444", tls);
    let desk = build(desk).await;
    let rows = [
        ("app.default", Some(Reason::Unreachable)),
        ("tls.example:444", Some(Reason::Unreachable)),
        ("plain.example", None),
    ];
    for (host, reason) in rows {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let request = Request::get(format!("http://{host}/")).version(version);
            let request = request.body(ClientBody::empty()).unwrap();
            let error = desk.client().request(request).await.unwrap_err();
            assert!(error.is_connect(), "{error}");
            let why = error.handshake().map(|error| error.reason());
            assert_eq!(why, reason, "{error}");
            let place = format!("no connection to {host} at {address}");
            assert_eq!(error.to_string(), place);
            let reason = error.source().unwrap().to_string();
            assert!(reason.contains("refused"), "{reason}");
            assert_eq!(error.flags(), ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        }
    }
    let refused = lines(
        &desk,
        "mesh_tls_handshakes_total",
        &["reason=\"unreachable\""],
    );
    assert_eq!(refused.len(), 1, "{refused:?}");
}

/// What could be sent nowhere is not an upstream's failure.
#[tokio::test]
async fn a_call_that_is_none_is_refused_as_such() {
    let pki = pki();
    let desk = caller(&pki, "desk", "127.0.0.1:1".parse().unwrap()).await;
    let rows = [
        ("app.default", Version::HTTP_11, "begins with http"),
        ("http://app.default/", Version::HTTP_3, "HTTP/1 or HTTP/2"),
        ("http://app.default/", Version::HTTP_09, "HTTP/1 or HTTP/2"),
    ];
    for (uri, version, said) in rows {
        let request = Request::get(uri).version(version);
        let request = request.body(ClientBody::empty()).unwrap();
        let error = desk.client().request(request).await.unwrap_err();
        assert!(error.to_string().contains(said), "{uri}: {error}");
        assert!(!error.is_connect(), "{uri}: {error}");
        assert_eq!(error.flags(), ResponseFlags::NO_ROUTE, "{uri}");
    }
}

#[tokio::test]
async fn two_documents_of_one_name_are_refused_with_both_places() {
    let one = policy("p", "ALLOW", "[{}]");
    let config = Fixed::yaml("one.yaml", &one).and("two.yaml", &one);
    let error = app(&pki()).config(config).build().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("two.yaml") && text.contains("one.yaml:"),
        "{text}"
    );
}

/// M-02, M-05, M-06.
#[tokio::test]
async fn an_identity_that_cannot_be_used_fails_the_build() {
    let pki = pki();
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let issue = |leaf: Leaf| pki.issue(&leaf).unwrap();

    let nameless = issue(Leaf::without_uri());
    let error = X509Svid::new(nameless.chain().to_vec(), nameless.key()).unwrap_err();
    assert_eq!(error.reason(), Reason::NoSpiffeId);

    let expired = issue(Leaf::workload(id).expired()).svid().unwrap();
    let expired = Identity::new(expired, pki.bundles().unwrap());
    let workload = Workload::new("default", "app");
    let (own, other) = (issue(Leaf::workload(id)), issue(Leaf::workload(id)));
    let mixed = X509Svid::new(own.chain().to_vec(), other.key()).unwrap();
    let mixed = Identity::new(mixed, pki.bundles().unwrap());
    let built = Mesh::builder(workload.clone(), mixed).build();
    let error = built.await.unwrap_err();
    let reason = error.identity().unwrap().reason();
    assert_eq!(reason, Reason::KeyMismatch, "{error}");

    let built = Mesh::builder(workload.clone(), expired).build();
    let error = built.await.unwrap_err();
    assert_eq!(
        error.identity().unwrap().reason(),
        Reason::Expired,
        "{error}"
    );
}

/// M-29: an upstream names who may answer.
#[tokio::test]
async fn upstreams_that_cannot_be_meant_fail_the_build() {
    let pki = pki();
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let id = app(&pki).build().await.unwrap().0.spiffe_id();
    let long = format!("{}.example", "a.".repeat(120));
    for host in ["a b", "a!b.example", "a..b", "*.example", &long] {
        let built = app(&pki).upstream(host, [address], [id.clone()]).build();
        assert!(built.await.unwrap_err().to_string().contains(host));
        if host != long {
            let built = app(&pki).outside(host, ExternalHost::plaintext()).build();
            assert!(built.await.unwrap_err().to_string().contains(host));
        }
    }
    for host in [
        "a_b.example",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8443",
        "a.b:1",
    ] {
        let built = app(&pki).upstream(host, [address], [id.clone()]);
        let built = built.outside("some_host:1", ExternalHost::plaintext());
        assert!(built.build().await.is_ok(), "{host}");
    }
    let nowhere: [SocketAddr; 0] = [];
    let built = app(&pki).upstream("a", nowhere, [id]).build().await;
    assert!(built.unwrap_err().to_string().contains("no address"));
    let nobody: [SpiffeId; 0] = [];
    let built = app(&pki).upstream("a", [address], nobody).build().await;
    assert!(built.unwrap_err().to_string().contains("no identity"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_of_serve() {
    let mesh = build(app(&pki())).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = mesh.serve(taken.local_addr().unwrap(), hello()).await;
    assert_eq!(served.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody_else() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, hello()).await;
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: app\r\n\r\n",
        b"\x16\x03\x01\xff\xff\x01",
        &[0; 4096],
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset, never an answer of the application.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("hello"));
    }
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(read(response).await.2, "hello");
}

/// M-29: a good certificate of the same trust domain, of somebody else.
#[tokio::test]
async fn a_server_with_the_wrong_identity_is_a_typed_error() {
    let pki = pki();
    let impostor = Mesh::builder(
        Workload::new("default", "impostor"),
        pki.identity("default", "impostor").unwrap(),
    );
    let served = serve(&build(impostor).await, hello()).await;
    let desk = caller(&pki, "desk", served.address).await;
    let error = desk.client().get("http://app.default/").await.unwrap_err();
    let reason = error.handshake().map(|error| error.reason());
    assert_eq!(reason, Some(Reason::IdNotAllowed), "{error}");
    assert!(error.is_connect());
    assert_eq!(error.flags(), ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    let counted = lines(
        &desk,
        "istio_requests_total",
        &[r#"response_flags="UF""#, r#"response_code="503""#],
    );
    assert_eq!(counted.len(), 1, "{counted:?}");
}

#[tokio::test]
async fn a_server_without_an_identity_is_a_typed_error() {
    let pki = pki();
    let shown = pki.issue(&Leaf::without_uri().dns("localhost")).unwrap();
    let config = server_config((shown.chain().to_vec(), shown.key()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.is_ok()
    });
    let desk = caller(&pki, "desk", address).await;
    let error = desk.client().get("http://app.default/").await.unwrap_err();
    let reason = error.handshake().map(|error| error.reason());
    assert_eq!(reason, Some(Reason::NoSpiffeId), "{error}");
    assert!(!server.await.unwrap());
}

#[tokio::test]
async fn an_unknown_host_is_an_error_and_never_plaintext() {
    let pki = pki();
    let bait = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = bait.local_addr().unwrap();
    let desk = caller(&pki, "desk", address).await;
    let error = desk.client().get(format!("http://{address}/")).await;
    let error = error.unwrap_err();
    assert!(error.is_unknown_host() && error.handshake().is_none());
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert_eq!(error.flags(), ResponseFlags::NO_ROUTE);
    let connected = std::pin::pin!(bait.accept());
    let waker = std::task::Waker::noop();
    let polled = connected.poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending(), "somebody connected");
    assert!(desk.client().get("no uri at all").await.is_err());
    assert!(desk.client().get("/path/alone").await.is_err());
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_and_the_next_request_is_not() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", authentication(&issuer)))).await;
    let served = serve(&mesh, hello()).await;
    let token = format!("Bearer {}", "a".repeat(1 << 20));

    let mut sender = http1(&pki, "desk", served.address).await;
    let request = empty(get("/").header("authorization", &token));
    // A server may close before it has read all of it.
    if let Ok(response) = sender.send_request(request).await {
        assert_eq!(response.status(), 431);
    }
    let mut sender = http2(&pki, "desk", served.address).await;
    let request = empty(get2("/").header("authorization", &token));
    if let Ok(response) = sender.send_request(request).await {
        assert_eq!(response.status(), 431);
    }

    // As large as headers may be: read, and refused by the guard.
    let token = format!("Bearer {}", "a".repeat(40_000));
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/").header("authorization", &token)));
    assert_eq!(response.await.unwrap().status(), 401);
    let mut sender = http2(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get2("/").header("authorization", &token)));
    assert_eq!(response.await.unwrap().status(), 401);
    let response = sender.send_request(empty(get2("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// B-49: headers that are no text harm nobody, and no rule takes them for absent.
#[tokio::test]
async fn headers_that_are_not_utf_8_are_judged_or_refused() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let yaml = authentication(&issuer)
        + &policy(
            "p",
            "DENY",
            "[{when: [{key: 'request.headers[x-room]', notValues: ['*']}]}]",
        );
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", yaml))).await;
    let served = serve(&mesh, hello()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    let odd = HeaderValue::from_bytes(b"caf\xe9\xff").unwrap();
    let cases = [
        ("x-room", 200),
        ("authorization", 200),
        ("x-request-id", 200),
        ("traceparent", 200),
        ("tracestate", 200),
        ("baggage", 200),
        ("x-b3-traceid", 200),
        ("b3", 200),
        ("x-envoy-peer-metadata", 200),
        ("x-envoy-peer-metadata-id", 200),
        ("x-forwarded-for", 200),
        ("x-forwarded-client-cert", 200),
        ("cookie", 200),
        ("content-type", 200),
        ("user-agent", 200),
    ];
    for (name, expected) in cases {
        let request = get2("/").header("x-room", "7").header(name, &odd);
        let response = sender.send_request(empty(request)).await.unwrap();
        assert_eq!(response.status(), expected, "{name}");
    }
    let mut sender = http1(&pki, "desk", served.address).await;
    let request = Request::get("/").header("host", &odd).header("x-room", "7");
    let response = sender.send_request(empty(request)).await.unwrap();
    assert_eq!(response.status(), 400);
}

const REMOTE: &str = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: users}\nspec:\n  jwtRules:\n  - issuer: https://issuer.test\n    jwksUri: https://issuer.test/keys\n";

/// A URI writes brackets around an IPv6 address; a certificate does not.
#[tokio::test]
async fn keys_come_from_an_ipv6_literal() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let keys = JwksServer::start(&pki, "::1", &issuer).await.unwrap();
    let remote = REMOTE.replace("https://issuer.test/keys", "https://[::1]/keys");
    let builder = app(&pki)
        .config(Fixed::yaml("p.yaml", remote))
        .tokens(|tokens| {
            tokens
                .jwks_roots(pki.root_pem())
                .resolve("[::1]:443", keys.address())
        });
    let served = serve(&build(builder).await, hello()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    let token = format!("Bearer {}", issuer.token().subject("u").sign());
    let request = get2("/").header("authorization", token);
    let answer = sender.send_request(empty(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// R-16, J-40: a key server that answers nonsense at the start, and later keys.
#[tokio::test]
async fn keys_that_come_later_make_tokens_good() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let keys = JwksServer::start(&pki, "issuer.test", &issuer)
        .await
        .unwrap();
    keys.answer("not today");
    let builder = app(&pki)
        .config(Fixed::yaml("p.yaml", REMOTE))
        .tokens(|tokens| {
            tokens
                .jwks_roots(pki.root_pem())
                .resolve("issuer.test:443", keys.address())
        });
    let served = serve(&build(builder).await, hello()).await;
    let sender = http2(&pki, "desk", served.address).await;
    let token = format!("Bearer {}", issuer.token().subject("u").sign());
    let ask = async |authorization: Option<&str>| {
        let mut request = get2("/");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        sender
            .clone()
            .send_request(empty(request))
            .await
            .unwrap()
            .status()
    };
    assert_eq!(ask(Some(&token)).await, 401);
    assert_eq!(ask(None).await, 200);
    keys.answer(issuer.jwks());
    until_status("keys", 200, async || {
        pass(Duration::from_secs(1)).await;
        ask(Some(&token)).await
    })
    .await;
}

/// R-16: a key server that is not there, or takes connections and says nothing.
#[tokio::test]
async fn a_key_server_that_is_down_or_hangs_stops_nobody_without_a_token() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr();
    for address in [hanging.local_addr(), down] {
        let builder = app(&pki)
            .config(Fixed::yaml("p.yaml", REMOTE))
            .tokens(|tokens| {
                tokens
                    .jwks_roots(pki.root_pem())
                    .resolve("issuer.test:443", address.unwrap())
            });
        // With the clock paused, the wait for the first keys takes no time.
        tokio::time::pause();
        let mesh = build(builder).await;
        tokio::time::resume();
        let served = serve(&mesh, hello()).await;
        let mut sender = http2(&pki, "desk", served.address).await;
        let token = format!("Bearer {}", issuer.token().sign());
        let response = sender.send_request(empty(get2("/").header("authorization", token)));
        assert_eq!(response.await.unwrap().status(), 401);
        let response = sender.send_request(empty(get2("/"))).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

/// R-10: what nobody waits for any more is dropped, and counted once.
#[tokio::test]
async fn a_client_that_goes_away_is_recorded_once_as_gone() {
    let pki = pki();
    for protocol in ["h1", "h2"] {
        let log = Log::default();
        let mesh =
            build(app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()))).await;
        let arrived = Arc::new(Notify::new());
        let told = Arc::clone(&arrived);
        let never = any(move || {
            let told = Arc::clone(&told);
            async move {
                told.notify_one();
                std::future::pending::<&str>().await
            }
        });
        let endless = any(|| async {
            let frames =
                std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1024])));
            AxumBody::from_stream(Frames(frames))
        });
        let app = Router::new()
            .route("/never", never)
            .route("/endless", endless);
        let served = serve(&mesh, app).await;
        if protocol == "h1" {
            let mut sender = http1(&pki, "desk", served.address).await;
            let response = sender.send_request(empty(get("/endless"))).await.unwrap();
            assert_eq!(response.status(), 200);
            drop((response, sender));
            let mut sender = http1(&pki, "desk", served.address).await;
            let sending =
                tokio::spawn(
                    async move { sender.send_request(empty(get("/never"))).await.is_ok() },
                );
            arrived.notified().await;
            sending.abort();
        } else {
            let mut sender = http2(&pki, "desk", served.address).await;
            let response = sender.send_request(empty(get2("/endless"))).await.unwrap();
            assert_eq!(response.status(), 200);
            drop(response);
            // The connection stays, so that both streams were reset.
            let kept = sender.clone();
            let sending =
                tokio::spawn(
                    async move { sender.send_request(empty(get2("/never"))).await.is_ok() },
                );
            arrived.notified().await;
            sending.abort();
            log.wait(2).await;
            drop(kept);
        }
        let (flag, name) = match protocol {
            "h1" => (ResponseFlags::DOWNSTREAM_DISCONNECT, "DC"),
            _ => (ResponseFlags::DOWNSTREAM_RESET, "DR"),
        };
        let seen = log.wait(2).await;
        assert_eq!(seen.len(), 2, "{protocol}: {seen:?}");
        for seen in &seen {
            assert_eq!(seen.end, EndKind::Cancelled, "{protocol}: {seen:?}");
            assert_eq!(seen.flags, flag, "{protocol}");
        }
        let statuses: Vec<_> = seen.iter().map(|seen| seen.status).collect();
        assert_eq!(statuses, [Some(200), None], "{protocol}");
        let flags = format!("response_flags=\"{name}\"");
        let counted = lines(&mesh, "istio_requests_total", &[&flags]);
        assert_eq!(counted.len(), 2, "{protocol}: {counted:?}");
    }
}

/// An iterator as a stream that is always ready.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[tokio::test]
async fn a_mesh_goes_on_without_its_driver() {
    let pki = pki();
    let issuer = Issuer::es256(ISSUER);
    let keys = JwksServer::start(&pki, "issuer.test", &issuer)
        .await
        .unwrap();
    let yaml =
        REMOTE.to_owned() + "---\n" + &policy("p", "DENY", "[{to: [{operation: {paths: [/x]}}]}]");
    let builder = app(&pki)
        .config(Fixed::yaml("p.yaml", yaml))
        .tokens(|tokens| {
            tokens
                .jwks_roots(pki.root_pem())
                .resolve("issuer.test:443", keys.address())
        });
    let (mesh, driver) = builder.build().await.unwrap();
    drop((driver, keys));
    let served = serve(&mesh, hello()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    let token = format!("Bearer {}", issuer.token().sign());
    let response = sender.send_request(empty(get2("/").header("authorization", &token)));
    assert_eq!(response.await.unwrap().status(), 200);
    let response = sender.send_request(empty(get2("/x"))).await.unwrap();
    assert_eq!(response.status(), 403);
}

/// B-34: who is not known is not taken for nobody.
#[tokio::test]
async fn a_request_without_a_peer_is_refused() {
    let mesh =
        build(app(&pki()).config(Fixed::yaml("p.yaml", policy("all", "ALLOW", "[{}]")))).await;
    let request = || Request::get("/").header("host", "app");
    let response = mesh
        .protect(hello())
        .oneshot(request().body(AxumBody::empty()).unwrap());
    assert_eq!(response.await.unwrap().status(), 403);
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let request = request().extension(peer).body(AxumBody::empty()).unwrap();
    let response = mesh.protect(hello()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// M-45: a rotation to an identity that cannot be used changes nothing.
#[tokio::test]
async fn a_bad_identity_never_replaces_a_good_one() {
    let pki = pki();
    let credentials = Credentials::new(
        &pki.identity("default", "app").unwrap(),
        Settings::default(),
    );
    let credentials = credentials.unwrap();
    let mesh = build(Mesh::builder(
        Workload::new("default", "app"),
        credentials.clone(),
    ))
    .await;
    let served = serve(&mesh, hello()).await;
    let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/app").expired();
    let expired = Identity::new(
        pki.issue(&leaf).unwrap().svid().unwrap(),
        pki.bundles().unwrap(),
    );
    assert_eq!(
        credentials.replace(&expired).unwrap_err().reason(),
        Reason::Expired
    );
    let mut sender = http1::<Full<Bytes>>(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
}
