//! Trusted proxies on this host: a port of loopback, a Unix socket, and the PROXY protocol on them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::request::Builder;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tower_mesh::context::TraceContext;
use tower_mesh::gate::Edge;
use tower_mesh::mesh::TrustedProxy;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, MeshBuilder};

use super::trusted_proxy::seen;
use crate::support::mesh::{
    app, build, empty, get, get2, lines, policy, read, serve, speak_http2, until,
};

const XFCC: &str = "x-forwarded-client-cert";
const OWN: &str = "spiffe://cluster.local/ns/default/sa/app";

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

/// What the workload's sidecar writes of a caller with this service account.
fn element(account: &str) -> String {
    format!(r#"By={OWN};Subject="";URI={}"#, id(account))
}

fn allow(account: &str) -> String {
    let principal = format!("[cluster.local/ns/default/sa/{account}]");
    policy(
        "p",
        "ALLOW",
        &format!("[{{from: [{{source: {{principals: {principal}}}}}]}}]"),
    )
}

fn trusting(pki: &Pki, proxy: TrustedProxy, policies: &str) -> MeshBuilder {
    let builder = app(pki).config(Fixed::yaml("p.yaml", policies));
    builder.danger().trusted_proxy(proxy)
}

async fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Serves on a port of loopback on which a proxy is trusted.
async fn on_loopback(
    pki: &Pki,
    policies: &str,
    set: impl FnOnce(TrustedProxy) -> TrustedProxy,
) -> (Mesh, SocketAddr) {
    let (socket, address) = socket().await;
    let proxy = set(TrustedProxy::loopback_port(address.port()));
    let mesh = build(trusting(pki, proxy, policies)).await;
    let serving = mesh.clone();
    tokio::spawn(async move { serving.serve_on(socket, seen()).await });
    (mesh, address)
}

/// The status and body of an answer on this connection.
async fn ask<T>(stream: T, request: Builder) -> (u16, String)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(empty(request)).await.unwrap();
    let (status, _, body) = read::<hyper::body::Incoming>(answer).await;
    (status, body)
}

/// What must come to an end.
async fn within<T>(ends: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(20), ends).await;
    ended.expect("it goes on")
}

async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A header of the PROXY protocol about a caller at 10.0.0.7, with these fields.
fn header(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut block = vec![10, 0, 0, 7, 10, 0, 0, 9, 0x9c, 0x40, 0x20, 0xfb];
    for (kind, value) in fields {
        block.push(*kind);
        block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        block.extend(*value);
    }
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

/// H-09: on a named port of loopback the proxy speaks for its callers, in plaintext on a STRICT port.
#[tokio::test]
async fn a_sidecar_on_loopback_names_its_callers() {
    let pki = pki();
    let (_, address) = on_loopback(&pki, &allow("web"), |proxy| proxy).await;
    let ask = async |request| ask(tcp(address).await, request).await;
    let port = address.port();
    let expected = format!("cluster.local/ns/default/sa/web via loopback:{port}; peer none");
    let named = ask(get("/").header(XFCC, element("web"))).await;
    assert_eq!(named, (200, expected));
    assert_eq!(ask(get("/").header(XFCC, element("desk"))).await.0, 403);
    assert_eq!(ask(get("/")).await.0, 403);
    let of_others = element("web").replace(OWN, &id("gateway"));
    assert_eq!(ask(get("/").header(XFCC, of_others)).await.0, 400);
}

/// H-09: the same under axum's own server.
#[tokio::test]
async fn a_sidecar_names_its_callers_under_axums_server() {
    let pki = pki();
    let (socket, address) = socket().await;
    let proxy = TrustedProxy::loopback_port(address.port());
    let mesh = build(trusting(&pki, proxy, &allow("web"))).await;
    let listener = mesh.listen_on(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, mesh.make(seen())).await });
    for (account, status) in [("web", 200), ("desk", 403)] {
        let request = get("/").header(XFCC, element(account));
        assert_eq!(ask(tcp(address).await, request).await.0, status);
    }
}

/// H-09: a STRICT port stays closed to callers whom nothing proves; a PERMISSIVE one takes them, as a sidecar does.
#[tokio::test]
async fn a_strict_port_takes_no_caller_without_an_identity() {
    let pki = pki();
    let (mesh, address) = on_loopback(&pki, "", |proxy| proxy).await;
    assert_eq!(ask(tcp(address).await, get("/")).await.0, 403);
    let refused = lines(&mesh, "mesh_trusted_proxy_refused_total", &["no_identity"]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let known = ask(tcp(address).await, get("/").header(XFCC, element("web"))).await;
    assert_eq!(known.0, 200);

    let (socket, address) = socket().await;
    let proxy = TrustedProxy::loopback_port(address.port());
    let builder = trusting(&pki, proxy, "").mode_otherwise(Mode::Permissive);
    let mesh = build(builder).await;
    tokio::spawn(async move { mesh.serve_on(socket, seen()).await });
    let answer = ask(tcp(address).await, get("/")).await;
    let expected = format!("none via loopback:{}; peer none", address.port());
    assert_eq!(answer, (200, expected));
}

/// H-09: other hosts do not reach the port of a trusted proxy, and other ports trust nobody.
#[tokio::test]
async fn a_trusted_port_is_on_loopback_and_alone() {
    let pki = pki();
    let socket = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let proxy = TrustedProxy::loopback_port(port);
    let mesh = build(trusting(&pki, proxy, "").mode_otherwise(Mode::Permissive)).await;
    let refused = within(mesh.serve_on(socket, seen())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(
        refused.to_string().contains(&format!("127.0.0.1:{port}")),
        "{refused}"
    );
    let socket = TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert_ne!(socket.local_addr().unwrap().port(), port);
    assert!(mesh.listen_on(socket).is_ok());

    let served = serve(&mesh, seen()).await;
    let request = get("/").header(XFCC, element("web"));
    let answer = ask(tcp(served.address).await, request).await;
    assert_eq!(answer, (200, "-; peer none".to_owned()));
}

/// H-09: a Unix socket, over both versions of HTTP, with the port that policies name.
#[tokio::test]
async fn a_proxy_behind_a_unix_socket_names_its_callers() {
    let pki = pki();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    // Left behind by an earlier process.
    drop(UnixListener::bind(&path).unwrap());
    let closed = "[{to: [{operation: {ports: [\"8443\"], paths: [/closed]}}]}]";
    let policies = allow("web") + &policy("q", "DENY", closed);
    let mesh = build(trusting(
        &pki,
        TrustedProxy::unix_socket(&path, 8443),
        &policies,
    ))
    .await;

    let other = mesh.serve_unix(directory.path().join("other"), seen());
    let other = within(other).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidInput);

    let (serving, served) = (mesh.clone(), path.clone());
    let serving = tokio::spawn(async move { serving.serve_unix(served, seen()).await });
    let is_served = || std::os::unix::net::UnixStream::connect(&path).is_ok();
    until("the socket", is_served).await;
    let connect = async || UnixStream::connect(&path).await.unwrap();
    let via = format!("via unix:{}; peer none", path.display());
    let web = |path| get(path).header(XFCC, element("web"));
    let named = ask(connect().await, web("/")).await;
    assert_eq!(
        named,
        (200, format!("cluster.local/ns/default/sa/web {via}"))
    );
    assert_eq!(ask(connect().await, web("/closed")).await.0, 403);
    assert_eq!(ask(connect().await, get("/")).await.0, 403);

    let mut sender = speak_http2::<_, Full<Bytes>>(connect().await).await;
    for (account, status) in [("web", 200), ("desk", 403)] {
        let request = empty(get2("/").header(XFCC, element(account)));
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{account}");
    }
    let shown = format!("ready; trusted proxies: unix:{}", path.display());
    assert_eq!(mesh.readiness().to_string(), shown);
    let kind = r#"kind="unix_socket""#;
    assert_eq!(lines(&mesh, "mesh_trusted_proxy{", &[kind, " 1"]).len(), 1);
    let second = within(mesh.serve_unix(path.clone(), seen()))
        .await
        .unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse, "it is in use");
    mesh.shutdown(Duration::from_secs(1));
    serving.await.unwrap().unwrap();
}

/// B-59, H-09: the PROXY header names the caller of every request on the connection. What the requests say does not count: a proxy of TCP
/// passes on what its caller writes.
#[tokio::test]
async fn a_proxy_header_names_the_caller_of_a_connection() {
    let pki = pki();
    let (_, address) = on_loopback(&pki, &allow("web"), TrustedProxy::proxy_protocol).await;
    let via = format!("via loopback:{}; peer none", address.port());
    for (account, status) in [("web", 200), ("desk", 403)] {
        let bytes = header(&[(0x02, b"app.default"), (0xd0, id(account).as_bytes())]);
        let mut stream = tcp(address).await;
        // Byte by byte, then with the request behind it.
        for byte in &bytes[..20] {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.write_all(&bytes[20..]).await.unwrap();
        let other = if account == "web" { "desk" } else { "web" };
        let answer = ask(stream, get("/").header(XFCC, element(other))).await;
        assert_eq!(answer.0, status, "{account}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.1, format!("cluster.local/ns/default/sa/web {via}"));
        }
    }
    // Without an identity, which a STRICT port asks for; and a connection of the proxy itself.
    for bytes in [header(&[]), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()] {
        let mut stream = tcp(address).await;
        stream.write_all(&bytes).await.unwrap();
        let answer = ask(stream, get("/").header(XFCC, element("web"))).await;
        assert_eq!(answer.0, 403, "{answer:?}");
    }
}

/// B-59, H-09: rules about addresses judge the caller's.
#[tokio::test]
async fn rules_about_addresses_judge_what_the_proxy_header_says() {
    let pki = pki();
    for (block, status) in [("10.0.0.0/24", 200), ("127.0.0.0/8", 403)] {
        for field in ["ipBlocks", "remoteIpBlocks"] {
            let rules = format!("[{{from: [{{source: {{{field}: [{block}]}}}}]}}]");
            let policies = policy("p", "ALLOW", &rules);
            let (_, address) = on_loopback(&pki, &policies, TrustedProxy::proxy_protocol).await;
            let mut stream = tcp(address).await;
            let bytes = header(&[(0xd0, id("web").as_bytes())]);
            stream.write_all(&bytes).await.unwrap();
            assert_eq!(ask(stream, get("/")).await.0, status, "{field} {block}");
        }
    }
}

/// H-09, H-10: so they do at an edge, where the caller that the proxy names is no stranger.
#[tokio::test]
async fn an_edge_judges_the_address_that_the_proxy_header_says() {
    let pki = pki();
    for (mode, named) in [(Mode::Strict, true), (Mode::Permissive, false)] {
        for (block, status) in [("10.0.0.0/24", 200), ("127.0.0.0/8", 403)] {
            let rules = format!("[{{from: [{{source: {{remoteIpBlocks: [{block}]}}}}]}}]");
            let policies = policy("p", "ALLOW", &rules);
            let (socket, address) = socket().await;
            let proxy = TrustedProxy::loopback_port(address.port()).proxy_protocol();
            let builder = trusting(&pki, proxy, &policies).mode_otherwise(mode);
            let mesh = build(builder.listener(|listener| listener.edge(Edge::new()))).await;
            tokio::spawn(async move { mesh.serve_on(socket, seen()).await });
            let mut stream = tcp(address).await;
            let id = id("web");
            let fields: &[(u8, &[u8])] = if named { &[(0xd0, id.as_bytes())] } else { &[] };
            stream.write_all(&header(fields)).await.unwrap();
            assert_eq!(ask(stream, get("/")).await.0, status, "{mode:?} {block}");
        }
    }
}

/// B-59, H-09: where a header is due, a connection without a good one is closed and counted.
#[tokio::test]
async fn a_connection_without_its_proxy_header_is_closed() {
    let pki = pki();
    let (mesh, address) = on_loopback(&pki, "", TrustedProxy::proxy_protocol).await;
    let refused = || lines(&mesh, "mesh_tls_handshakes_total", &["proxy_header"]);
    let mut too_long = header(&[(4, &[0; 4096])]);
    too_long.truncate(16);
    for bad in [
        b"GET / HTTP/1.1\r\nhost: app\r\n\r\n".to_vec(),
        b"PROXY TCP4 10.0.0.7 10.0.0.9 1 2\r\n".to_vec(),
        header(&[(0xd0, b"cluster.local/ns/default/sa/web")]),
        header(&[(3, &[0; 4])]),
        too_long,
    ] {
        let before = refused();
        let mut stream = tcp(address).await;
        stream.write_all(&bad).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{bad:?}");
        assert_ne!(refused(), before, "{bad:?}");
    }
}

/// B-59: no other connection is looked at for a header, not even another kind of trusted one.
#[tokio::test]
async fn a_proxy_header_is_read_nowhere_else() {
    let pki = pki();
    let builder = app(&pki).mode_otherwise(Mode::Permissive);
    let plain = serve(&build(builder).await, seen()).await;
    let (_, trusted) = on_loopback(&pki, "", |proxy| proxy).await;
    for address in [plain.address, trusted] {
        let mut stream = tcp(address).await;
        let mut bytes = header(&[(0xd0, id("web").as_bytes())]);
        bytes.extend(b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.contains(" 200 ") && !answer.contains("web"),
            "{answer}"
        );
    }
}

/// A sidecar is inside the mesh if its caller is: the caller's trace goes on.
#[tokio::test]
async fn the_trace_of_a_named_caller_goes_on() {
    let pki = pki();
    let (socket, address) = socket().await;
    let proxy = TrustedProxy::loopback_port(address.port());
    let builder = trusting(&pki, proxy, "").mode_otherwise(Mode::Permissive);
    let mesh = build(builder).await;
    let traced = Router::new().fallback(any(|trace: TraceContext| async move {
        trace.trace_id.to_string()
    }));
    tokio::spawn(async move { mesh.serve_on(socket, traced).await });
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{id}-00f067aa0ba902b7-01");
    for (said, goes_on) in [(element("web"), true), (String::new(), false)] {
        let request = get("/").header("traceparent", &parent).header(XFCC, said);
        let answer = ask(tcp(address).await, request).await;
        assert_eq!(answer.1 == id, goes_on, "{answer:?}");
    }
}

/// Mistakes of these options are told all at once.
#[tokio::test]
async fn a_trusted_socket_is_named_exactly() {
    let pki = pki();
    let builder = app(&pki)
        .danger()
        .trusted_proxy(TrustedProxy::loopback_port(0))
        .danger()
        .trusted_proxy(TrustedProxy::unix_socket("app.sock", 0))
        .danger()
        .trusted_proxy(TrustedProxy::identities([id("gateway")]).proxy_protocol());
    let error = builder.build().await.map(drop).unwrap_err();
    let mistakes = error.mistakes();
    let pieces = [
        "loopback_port: ",
        "unix_socket: \"app.sock\"",
        "unix_socket: ",
        "proxy_protocol: ",
    ];
    assert_eq!(mistakes.len(), pieces.len(), "{mistakes:#?}");
    for (mistake, piece) in mistakes.iter().zip(pieces) {
        let expected = format!("MeshBuilder::danger().trusted_proxy: {piece}");
        assert!(mistake.starts_with(&expected), "{mistake}");
    }
}

/// H-09: a mesh without TLS believes its sidecar, too.
#[tokio::test]
async fn a_mesh_in_plaintext_may_trust_a_sidecar() {
    let (socket, address) = socket().await;
    let workload = tower_mesh::Workload::new("default", "app");
    let builder = Mesh::danger().plaintext(workload);
    let builder = builder.config(Fixed::yaml("p.yaml", allow("web"))).danger();
    let builder = builder.trusted_proxy(TrustedProxy::loopback_port(address.port()));
    let mesh = build(builder).await;
    tokio::spawn(async move { mesh.serve_on(socket, seen()).await });
    for (account, status) in [("web", 200), ("desk", 403)] {
        let request = get("/").header(XFCC, element(account));
        assert_eq!(ask(tcp(address).await, request).await.0, status);
    }
}
