//! Workloads of one trust domain on loopback, and callers that speak to them as they like.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes as AxumBytes;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tower_mesh::context::{Exchange, TlsFacts};
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::mesh::Drained;
use tower_mesh::message::{EndKind, Report, ResponseFlags};
use tower_mesh::metrics::Format;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::{Connector, Credentials, Destination, Protocol, Settings, Stream};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

pub(crate) const ISSUER: &str = "https://issuer.test";

/// A request that has ended, as the observer was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: Option<u16>,
    pub(crate) end: EndKind,
    pub(crate) flags: ResponseFlags,
    pub(crate) details: Option<String>,
}

/// What the observer was told, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn observe(&self) -> impl Fn(&Report<'_>) + Send + Sync + 'static {
        let log = self.clone();
        move |report| {
            let details = report.exchange.and_then(Exchange::details);
            log.0.lock().unwrap().push(Seen {
                status: report.status.map(|status| status.as_u16()),
                end: report.end.kind,
                flags: report.flags,
                details: details.map(|text| text.to_string()),
            });
        }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) async fn wait(&self, count: usize) -> Vec<Seen> {
        until("requests to end", || self.all().len() >= count).await;
        self.all()
    }
}

/// Waits for something that comes by itself, without sleeping.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::task::yield_now().await;
    }
}

/// Waits for an answer with this status, asking again and again.
pub(crate) async fn until_status(
    what: &str,
    status: u16,
    mut ask: impl AsyncFnMut() -> StatusCode,
) {
    let deadline = Instant::now() + PATIENCE;
    while ask().await.as_u16() != status {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::task::yield_now().await;
    }
}

/// Lets every task run that can.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A body that is fed from outside.
pub(crate) struct Fed(pub(crate) mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Lets this much time pass for everything that waits on the clock of the runtime.
pub(crate) async fn pass(time: Duration) {
    if STILL.get() {
        tokio::time::advance(time).await;
        return;
    }
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Lets seconds pass one by one, and every task run between.
pub(crate) async fn seconds(count: u32) {
    for _ in 0..count {
        settle().await;
        pass(Duration::from_secs(1)).await;
    }
    settle().await;
}

/// The clock of this thread's runtime stands until this is dropped, and goes on by [`pass`] alone: however long a busy machine takes.
pub(crate) struct Still {
    _held: std::sync::mpsc::Sender<()>,
}

pub(crate) fn still() -> Still {
    let (held, dropped) = std::sync::mpsc::channel();
    // Beside a thread that may be at work a runtime does not move a clock that stands, as it else does while it waits for sockets.
    tokio::task::spawn_blocking(move || dropped.recv());
    tokio::time::pause();
    STILL.set(true);
    Still { _held: held }
}

impl Drop for Still {
    fn drop(&mut self) {
        STILL.set(false);
    }
}

thread_local! {
    static STILL: Cell<bool> = const { Cell::new(false) };
}

/// Reads the whole body, then answers.
pub(crate) fn reader() -> Router {
    Router::new().fallback(any(|body: Result<AxumBytes, _>| async move {
        match body {
            Ok(body) => format!("read {}", body.len()),
            Err::<_, axum::extract::rejection::BytesRejection>(_) => "cut short".to_owned(),
        }
    }))
}

/// Lets one second pass after another, for the runtime alone, until it is so. What works beside the runtime, as whoever reads files, has
/// the patience of [`until`].
pub(crate) async fn pass_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        pass(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// The workload `app` of namespace `default`.
pub(crate) fn app(pki: &Pki) -> MeshBuilder {
    Mesh::builder(
        Workload::new("default", "app").service("app", 8443),
        pki.identity("default", "app").unwrap(),
    )
}

pub(crate) async fn build(builder: MeshBuilder) -> Mesh {
    let (mesh, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    mesh
}

/// Another workload, whose client knows `app.default` at this address.
pub(crate) async fn caller(pki: &Pki, name: &str, app: SocketAddr) -> Mesh {
    let expected = pki.identity("default", "app").unwrap();
    let builder = Mesh::builder(
        Workload::new("default", name),
        pki.identity("default", name).unwrap(),
    )
    .upstream("app.default", [app], [expected.svid().spiffe_id().clone()]);
    build(builder).await
}

/// An application behind `serve_on`.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) serving: JoinHandle<std::io::Result<Drained>>,
}

pub(crate) async fn serve(mesh: &Mesh, app: Router) -> Served {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mesh = mesh.clone();
    let serving = tokio::spawn(async move { mesh.serve_on(socket, app).await });
    Served { address, serving }
}

/// A caller without identity, from nowhere.
pub(crate) fn unproven() -> Peer {
    let (remote, local) = ends();
    Peer::plaintext(remote, local)
}

/// A caller with the certificate of this service account, from nowhere.
pub(crate) fn proven(account: &str) -> Peer {
    let id = SpiffeId::new(&format!("spiffe://cluster.local/ns/default/sa/{account}"));
    let mut facts = TlsFacts::default();
    facts.certificate = Some(PeerCertificate::from_spiffe_id(id.unwrap()));
    let (remote, local) = ends();
    Peer::tls(remote, local, facts)
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap())
}

/// A connection with the certificate of this service account, before any HTTP.
pub(crate) async fn dial(
    pki: &Pki,
    account: &str,
    address: SocketAddr,
    protocol: Protocol,
) -> Stream<TcpStream> {
    let expected = pki.identity("default", "app").unwrap();
    let destination = Destination::new(
        [expected.svid().spiffe_id().clone()],
        "outbound_.8443_._.app.default.svc.cluster.local",
        protocol,
    );
    let identity = pki.identity("default", account).unwrap();
    let credentials = Credentials::new(&identity, Settings::default()).unwrap();
    let connector = Connector::new(credentials);
    let connected = connector.connect(address, &destination.unwrap()).await;
    connected.unwrap().0
}

/// A caller that speaks bare HTTP/1.1 over the mesh's TLS.
pub(crate) async fn http1<B>(pki: &Pki, account: &str, address: SocketAddr) -> http1::SendRequest<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let stream = dial(pki, account, address, Protocol::Http1).await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// As [`http1`], in HTTP/2.
pub(crate) async fn http2<B>(pki: &Pki, account: &str, address: SocketAddr) -> http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    speak_http2(dial(pki, account, address, Protocol::Http2).await).await
}

/// A caller without identity that speaks HTTP/2 because it knows that the other side does.
pub(crate) async fn http2_in_plaintext<B>(address: SocketAddr) -> http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    speak_http2(TcpStream::connect(address).await.unwrap()).await
}

pub(crate) async fn speak_http2<T, B>(stream: T) -> http2::SendRequest<B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let connected = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = connected.unwrap();
    tokio::spawn(connection);
    sender
}

/// A GET, in the form that HTTP/1.1 sends.
pub(crate) fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "app.default")
}

/// A GET, in the form that HTTP/2 sends.
pub(crate) fn get2(path: &str) -> http::request::Builder {
    Request::get(format!("http://app.default{path}")).version(http::Version::HTTP_2)
}

pub(crate) fn empty(builder: http::request::Builder) -> Request<Full<Bytes>> {
    builder.body(Full::default()).unwrap()
}

/// The status, headers, and body of an answer.
pub(crate) async fn read<B: Body<Error: std::fmt::Debug>>(
    response: Response<B>,
) -> (u16, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (head.status.as_u16(), head.headers, text)
}

/// The lines of this metric that hold all these labels.
pub(crate) fn lines(mesh: &Mesh, metric: &str, labels: &[&str]) -> Vec<String> {
    let text = mesh.metrics().render(Format::Text);
    text.lines()
        .filter(|line| line.starts_with(metric))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .map(str::to_owned)
        .collect()
}

/// A RequestAuthentication of the issuer, its keys inline.
pub(crate) fn authentication(issuer: &Issuer) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - issuer: {}\n    jwks: '{}'\n---\n",
        issuer.name(),
        issuer.jwks()
    )
}

/// An AuthorizationPolicy of this action and these rules.
pub(crate) fn policy(name: &str, action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec: {{action: {action}, rules: {rules}}}\n---\n"
    )
}

/// A way to this server, whose connections are cut when they are told.
pub(crate) async fn relay(server: SocketAddr, cut: Arc<Notify>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = socket.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = cut.notified() => {}
                }
            });
        }
    });
    address
}

/// Writes the only file of a directory of policies.
pub(crate) fn write(directory: &Path, text: &str) {
    // Moved into place whole: the clock of these tests runs ahead of whoever writes.
    let mut file = tempfile::NamedTempFile::new_in(directory).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.persist(directory.join("policies.yaml")).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(20);
