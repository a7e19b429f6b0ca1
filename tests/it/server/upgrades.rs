//! Connections that HTTP/1 has left to the application: how they come to be, and what still ends them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use http::request::Builder;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::client::conn::http1::handshake;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tower_mesh::Workload;
use tower_mesh::mesh::{Drained, Mesh};
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::testing::{Issued, Leaf, Pki};
use tower_mesh::tls::{Clock, Connector, Credentials, Destination, Identity, Protocol, Settings};

use crate::support::mesh::{
    Served, app, build, dial, empty, get, http1, lines, pass, policy, seconds, serve, write,
};

const APP: &str = "spiffe://cluster.local/ns/default/sa/app";
const DESK: &str = "spiffe://cluster.local/ns/default/sa/desk";

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// Upgrades every request, then sends back what it gets, five bytes turned round; `ends` is told what ended that.
fn mirror() -> (Router, mpsc::UnboundedReceiver<ErrorKind>) {
    let (tell, ends) = mpsc::unbounded_channel();
    let upgrade = any(move |mut request: Request<AxumBody>| {
        let upgraded = hyper::upgrade::on(&mut request);
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let ended = loop {
                let mut said = [0; 5];
                if let Err(error) = io.read_exact(&mut said).await {
                    break error;
                }
                said.reverse();
                if let Err(error) = io.write_all(&said).await {
                    break error;
                }
            };
            let _ = io.shutdown().await;
            let _ = tell.send(ended.kind());
        });
        let is_connect = request.method() == Method::CONNECT;
        async move {
            if is_connect {
                Response::default()
            } else {
                switched()
            }
        }
    });
    (Router::new().fallback(upgrade), ends)
}

fn switched() -> Response<AxumBody> {
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response
        .header("connection", "upgrade")
        .header("upgrade", "mirror");
    response.body(AxumBody::empty()).unwrap()
}

fn ask(path: &str) -> Builder {
    get(path)
        .header("connection", "upgrade")
        .header("upgrade", "mirror")
}

/// An upgraded connection of whoever has this certificate.
async fn upgraded(pki: &Pki, peer: &Issued, address: SocketAddr) -> TokioIo<Upgraded> {
    let identity = Identity::new(peer.svid().unwrap(), pki.bundles().unwrap());
    let connector = Connector::new(Credentials::new(&identity, Settings::default()).unwrap());
    let destination = Destination::new([APP.parse().unwrap()], "app", Protocol::Http1).unwrap();
    let (stream, _) = connector.connect(address, &destination).await.unwrap();
    upgrade(stream, ask("/"), 101).await
}

async fn upgrade<T>(stream: T, request: Builder, status: u16) -> TokioIo<Upgraded>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(empty(request)).await.unwrap();
    assert_eq!(response.status(), status);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

async fn is_mirrored(io: &mut TokioIo<Upgraded>) {
    io.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    io.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"olleh");
}

fn rotate(mesh: &Mesh, pki: &Pki) {
    let next = pki.identity("default", "app").unwrap();
    assert_eq!(mesh.credentials().unwrap().replace(&next), Ok(true));
}

/// B-35: judged before it is upgraded, and then out of the way.
#[tokio::test]
async fn a_connection_is_upgraded_through_the_guards() {
    let pki = pki();
    let closed = policy(
        "closed",
        "DENY",
        "[{to: [{operation: {paths: [/closed]}}]}]",
    );
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", closed))).await;
    let (mirror, mut ends) = mirror();
    let served = serve(&mesh, mirror).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(ask("/closed"))).await.unwrap();
    assert_eq!(response.status(), 403);
    let response = sender.send_request(empty(ask("/open"))).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    is_mirrored(&mut io).await;
    // What came was no head of a request, so there is nothing to wait for.
    seconds(30).await;
    is_mirrored(&mut io).await;
    io.shutdown().await.unwrap();
    assert_eq!(ends.recv().await, Some(ErrorKind::UnexpectedEof));
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
}

/// RFC 9110 §9.3.6: a tunnel as well, where no guard refuses it.
#[tokio::test]
async fn connect_makes_a_tunnel() {
    let mesh = build(app(&pki())).await;
    let (mirror, mut ends) = mirror();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = mesh.clone();
    let serving = tokio::spawn(async move { server.serve_plaintext_on(socket, mirror).await });
    let stream = TcpStream::connect(address).await.unwrap();
    let request = Request::connect("records:8443").header("host", "records:8443");
    let mut io = upgrade(stream, request, 200).await;
    seconds(30).await;
    is_mirrored(&mut io).await;
    mesh.shutdown(Duration::ZERO);
    assert_eq!(serving.await.unwrap().unwrap().cut_streams, 1);
    assert_eq!(ends.recv().await, Some(ErrorKind::ConnectionAborted));
}

/// B-35: a connection that drains is upgraded all the same, and goes on: both identities are good.
#[tokio::test]
async fn a_drain_leaves_an_upgrade_its_header_and_its_time() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, waits) = (Arc::clone(&arrived), Arc::clone(&go));
    let upgrade = any(move |mut request: Request<AxumBody>| async move {
        here.notify_one();
        waits.notified().await;
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let mut said = [0; 5];
            io.read_exact(&mut said).await.unwrap();
            said.reverse();
            io.write_all(&said).await.unwrap();
        });
        switched()
    });
    let served = serve(&mesh, Router::new().fallback(upgrade)).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let asked = sender.send_request(empty(ask("/")));
    let rotated = async {
        arrived.notified().await;
        rotate(&mesh, &pki);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
    };
    let (response, ()) = tokio::join!(asked, rotated);
    let response = response.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["connection"], "upgrade");
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    seconds(40).await;
    is_mirrored(&mut io).await;
}

/// B-35: a body is asked for only after the decision, and a refused request is never asked for it.
#[tokio::test]
async fn a_refused_request_is_not_asked_for_its_body() {
    let pki = pki();
    let closed = policy("p", "DENY", "[{to: [{operation: {paths: [/closed]}}]}]");
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", closed))).await;
    let read = any(|body: String| async move { body });
    let served = serve(&mesh, Router::new().fallback(read)).await;
    for (path, answer) in [
        ("/closed", "HTTP/1.1 403 "),
        ("/%00", "HTTP/1.1 400 "),
        ("/open", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: app.default\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = vec![0; answer.len()];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(String::from_utf8(first).unwrap(), answer, "{path}");
    }
}

/// B-35: `h2c` is never taken up.
#[tokio::test]
async fn an_upgrade_to_h2c_is_not_honoured() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, Router::new().fallback(any(|| async { "hello" }))).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let request = get("/")
        .header("connection", "upgrade, http2-settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAAP__");
    let response = sender.send_request(empty(request)).await.unwrap();
    assert_eq!(
        (response.status(), response.version()),
        (StatusCode::OK, Version::HTTP_11)
    );
}

/// M-47: nobody can be told on it, and both identities are as good as ever.
#[tokio::test]
async fn age_and_rotations_leave_an_upgraded_connection() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (mirror, mut ends) = mirror();
    let served = serve(&mesh, mirror).await;
    let desk = pki.issue(&Leaf::workload(DESK)).unwrap();
    let mut io = upgraded(&pki, &desk, served.address).await;
    rotate(&mesh, &pki);
    seconds(40).await;
    is_mirrored(&mut io).await;
    pass(Duration::from_secs(4000)).await;
    seconds(40).await;
    is_mirrored(&mut io).await;
    assert!(ends.try_recv().is_err());
}

/// hyper hands a connection over at its end to whoever waits for that, however the request was answered.
#[tokio::test]
async fn who_granted_no_upgrade_gets_a_connection_that_is_cut() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (tell, mut ends) = mpsc::unbounded_channel();
    let refusing = any(move |mut request: Request<AxumBody>| {
        let upgraded = hyper::upgrade::on(&mut request);
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let read = io.read(&mut [0]).await;
            let written = io.write_all(b"hello").await;
            let kinds = [read.map(drop), written].map(|ended| ended.map_err(|error| error.kind()));
            tell.send(kinds).unwrap();
        });
        async { "no" }
    });
    let served = serve(&mesh, Router::new().fallback(refusing)).await;
    let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
    let request =
        "GET / HTTP/1.1\r\nhost: app.default\r\nconnection: close\r\nupgrade: mirror\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let aborted = Err(ErrorKind::ConnectionAborted);
    let ended = tokio::time::timeout(Duration::from_secs(30), ends.recv()).await;
    assert_eq!(ended.unwrap(), Some([aborted, aborted]));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.ends_with(b"no"), "{answer:?}");
}

/// M-42, M-47: five seconds after an identity on it was found to be no longer good, an upgraded connection is over, whatever is spoken on it.
#[tokio::test]
async fn a_bad_identity_ends_an_upgraded_connection() {
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    for (name, reason, looks) in [
        ("revoked", "peer_untrusted", 0),
        ("revoked after a rotation", "peer_untrusted", 0),
        ("another root", "peer_untrusted", 0),
        ("expired", "peer_expired", 60),
        ("our own expired, long after a rotation", "own_expired", 60),
    ] {
        let pki = pki();
        let clock = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&clock);
        let settings = Settings::default().clock(Clock::from_fn(move || {
            SystemTime::now() + Duration::from_secs(read.load(Ordering::Relaxed))
        }));
        let ours = |hours, bundles| {
            let leaf = Leaf::workload(APP).valid(now - hour, now + hours * hour);
            Identity::new(pki.issue(&leaf).unwrap().svid().unwrap(), bundles)
        };
        let identity = ours(2, pki.bundles().unwrap());
        let credentials = Credentials::new(&identity, settings).unwrap();
        let builder = Mesh::builder(Workload::new("default", "app"), credentials);
        let mesh = build(builder).await;
        let (mirror, mut ends) = mirror();
        let served = serve(&mesh, mirror).await;
        let desk = Leaf::workload(DESK);
        let desk = match name {
            "expired" => pki.issue(&desk.valid(now - hour, now + hour)),
            _ => pki.issue(&desk.valid(now - hour, now + 4 * hour)),
        };
        let desk = desk.unwrap();
        let mut io = upgraded(&pki, &desk, served.address).await;
        is_mirrored(&mut io).await;

        let replace = |next| {
            assert_eq!(
                mesh.credentials().unwrap().replace(&next),
                Ok(true),
                "{name}"
            )
        };
        let bundles = pki.bundles().unwrap();
        let revoked = || {
            let list = pki.revocation_list_pem(&[&desk], now + 2 * hour).unwrap();
            let listed = pki.bundles().unwrap();
            let listed = listed.with_revoked_pem(pki.trust_domain(), list.as_bytes());
            listed.unwrap()
        };
        match name {
            "revoked" => replace(ours(3, revoked())),
            "revoked after a rotation" => {
                replace(ours(3, bundles));
                seconds(40).await;
                is_mirrored(&mut io).await;
                replace(ours(4, revoked()));
            }
            "another root" => {
                let other = Pki::new("cluster.local").unwrap();
                replace(other.identity("default", "app").unwrap());
            }
            "expired" => clock.store(3700, Ordering::Relaxed),
            _ => {
                replace(ours(4, bundles));
                seconds(40).await;
                is_mirrored(&mut io).await;
                clock.store(7300, Ordering::Relaxed);
            }
        }
        seconds(looks + 5).await;
        assert_eq!(ends.try_recv(), Ok(ErrorKind::ConnectionAborted), "{name}");
        assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0, "{name}");
        let reason = format!("reason=\"{reason}\"");
        let labels = [r#"side="inbound""#, &reason];
        let ended = lines(&mesh, "mesh_connections_ended_total", &labels);
        assert!(ended.concat().ends_with(" 1"), "{name}: {ended:?}");
        let cut = lines(&mesh, "mesh_requests_cut_total", &[r#"side="inbound""#]);
        assert!(cut.concat().ends_with(" 1"), "{name}: {cut:?}");
    }
}

/// A port that becomes STRICT has no plaintext left, upgraded or not.
#[tokio::test]
async fn a_port_made_strict_ends_an_upgraded_plaintext_connection() {
    let pki = pki();
    let directory = tempfile::tempdir().unwrap();
    let mode = |mode: &str| {
        let head =
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}";
        let text = format!("{head}\nspec: {{mtls: {{mode: {mode}}}}}\n");
        write(directory.path(), &text);
    };
    mode("PERMISSIVE");
    let mesh = build(app(&pki).config(Directory::watch(directory.path()))).await;
    let (mirror, mut ends) = mirror();
    let served = serve(&mesh, mirror).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let mut io = upgrade(stream, ask("/"), 101).await;
    is_mirrored(&mut io).await;
    mode("STRICT");
    let ended = async {
        loop {
            seconds(1).await;
            if let Ok(kind) = ends.try_recv() {
                return kind;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), ended).await;
    assert_eq!(ended.unwrap(), ErrorKind::ConnectionAborted);
}

/// R-11: an upgraded connection has the time that requests have, and counts as one.
#[tokio::test]
async fn a_shutdown_waits_for_an_upgraded_connection_and_then_cuts_it() {
    let pki = pki();
    let desk = pki.issue(&Leaf::workload(DESK)).unwrap();
    for ends_by_itself in [true, false] {
        let mesh = build(app(&pki)).await;
        let (mirror, mut ends) = mirror();
        let Served { address, serving } = serve(&mesh, mirror).await;
        let mut io = upgraded(&pki, &desk, address).await;
        mesh.shutdown(Duration::from_secs(30));
        seconds(20).await;
        is_mirrored(&mut io).await;
        assert!(!serving.is_finished());
        let (drained, end) = if ends_by_itself {
            drop(io);
            (serving.await, ErrorKind::UnexpectedEof)
        } else {
            seconds(11).await;
            (serving.await, ErrorKind::ConnectionAborted)
        };
        let Drained {
            cut, cut_streams, ..
        } = drained.unwrap().unwrap();
        let wanted = if ends_by_itself { (0, 0) } else { (1, 1) };
        assert_eq!((cut, cut_streams), wanted);
        assert_eq!(ends.recv().await, Some(end));
    }
}
