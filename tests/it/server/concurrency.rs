//! The concurrency limit of a mesh: what counts as under way, and for how long.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::{any, get as on_get};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tower_mesh::concurrency::{Adaptive, ConcurrencyLimit};
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Answer, Guard, Question, Verdict};
use tower_mesh::message::{LocalReply, ResponseFlags};
use tower_mesh::testing::Pki;

use crate::support::mesh::{
    Fed, Log, Served, Still, app, build, empty, get, get2, http1, http2, lines, pass, read, serve,
    still, until,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// An application whose answers to `/stream` go on until their sender is dropped.
struct Streams(Arc<Mutex<Vec<mpsc::UnboundedSender<Frame<Bytes>>>>>);

impl Streams {
    fn new() -> (Self, Router) {
        let senders = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&senders);
        let stream = move || {
            let (sender, body) = mpsc::unbounded_channel();
            kept.lock().unwrap().push(sender);
            std::future::ready(AxumBody::new(Fed(body)))
        };
        let router = Router::new()
            .route("/stream", on_get(stream.clone()))
            .route("/grpc.health.v1.Health/Watch", any(stream))
            .route("/mirror", any(mirror))
            .fallback(any(|| async { "fine" }));
        (Self(senders), router)
    }

    fn end(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Upgrades the connection, and sends back what it gets.
async fn mirror(mut request: Request<AxumBody>) -> Response<AxumBody> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        let mut byte = [0; 1];
        while io.read_exact(&mut byte).await.is_ok() {
            io.write_all(&byte).await.unwrap();
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "mirror")
        .body(AxumBody::empty())
        .unwrap()
}

/// Serves it in a mesh with room for so many requests.
async fn limited(pki: &Pki, requests: u32) -> (tower_mesh::Mesh, Served, Streams, Log) {
    let log = Log::default();
    let builder = app(pki)
        .concurrency(ConcurrencyLimit::fixed(requests))
        .telemetry(|telemetry| telemetry.on_complete(log.observe()));
    let mesh = build(builder).await;
    let (streams, router) = Streams::new();
    let served = serve(&mesh, router).await;
    (mesh, served, streams, log)
}

/// How many requests are under way, as the metrics say.
fn in_flight(mesh: &tower_mesh::Mesh) -> String {
    lines(mesh, "mesh_concurrency_in_flight", &[]).concat()
}

const NONE: &str = "mesh_concurrency_in_flight 0";

#[tokio::test]
async fn a_stream_counts_until_its_end() {
    let pki = pki();
    let (mesh, served, streams, log) = limited(&pki, 2).await;
    let mut client = http2(&pki, "desk", served.address).await;
    let first = client.send_request(empty(get2("/stream"))).await.unwrap();
    let second = client.send_request(empty(get2("/stream"))).await.unwrap();
    let (status, _, text) = read(client.send_request(empty(get2("/"))).await.unwrap()).await;
    assert_eq!((status, text.as_str()), (503, "reached concurrency limit"));
    let grpc = get2("/clinic.Desk/Ask").header("content-type", "application/grpc");
    let (status, headers, _) = read(client.send_request(empty(grpc)).await.unwrap()).await;
    assert_eq!(
        (status, &headers["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    for refused in log.wait(2).await {
        assert_eq!(refused.flags, ResponseFlags::UPSTREAM_OVERFLOW);
        assert_eq!(
            refused.details.as_deref(),
            Some("reached_concurrency_limit")
        );
    }
    let (status, ..) = read(
        client
            .send_request(empty(get2("/healthz?full")))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 200, "a health check");
    streams.end();
    for stream in [first, second] {
        assert!(
            stream
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
    until("the streams to end", || in_flight(&mesh) == NONE).await;
    let (status, ..) = read(client.send_request(empty(get2("/"))).await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(
        lines(&mesh, "mesh_concurrency_refused_total", &[]),
        ["mesh_concurrency_refused_total 2"]
    );
    assert_eq!(
        lines(&mesh, "mesh_concurrency_limit", &[]),
        ["mesh_concurrency_limit 2"]
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_place() {
    let pki = pki();
    let (mesh, served, _streams, _) = limited(&pki, 1).await;
    let mut client = http1(&pki, "desk", served.address).await;
    let stream = client.send_request(empty(get("/stream"))).await.unwrap();
    assert_eq!(in_flight(&mesh), "mesh_concurrency_in_flight 1");
    drop((stream, client));
    until("the place to be free", || in_flight(&mesh) == NONE).await;
}

#[tokio::test]
async fn a_tunnel_counts_until_it_is_closed() {
    let pki = pki();
    let (mesh, served, ..) = limited(&pki, 1).await;
    let mut client = http1(&pki, "desk", served.address).await;
    let request = get("/mirror")
        .header("connection", "upgrade")
        .header("upgrade", "mirror");
    let response = client.send_request(empty(request)).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut byte = [0; 1];
    tunnel.write_all(b"x").await.unwrap();
    tunnel.read_exact(&mut byte).await.unwrap();
    let mut other = http1(&pki, "ward", served.address).await;
    let (status, ..) = read(other.send_request(empty(get("/"))).await.unwrap()).await;
    assert_eq!(status, 503);
    drop(tunnel);
    until("the tunnel to close", || in_flight(&mesh) == NONE).await;
    let (status, ..) = read(other.send_request(empty(get("/"))).await.unwrap()).await;
    assert_eq!(status, 200);
}

/// What the test lets go on: the application's answer, or a guard's.
type Gate = oneshot::Sender<()>;

/// Waits for the test, which gets the gate.
async fn gated(gates: mpsc::UnboundedSender<Gate>) {
    let (gate, opened) = oneshot::channel();
    gates.send(gate).unwrap();
    // A test that has ended opens no gates.
    if opened.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn panics() -> Response<AxumBody> {
    panic!("as a handler may")
}

/// Makes requests for `/asked` wait for the test, and redirects those for `/moved`.
struct Porter(mpsc::UnboundedSender<Gate>);

impl Guard for Porter {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        match head.uri.path() {
            "/asked" => {
                let gates = self.0.clone();
                Verdict::Ask(Question::new(async {
                    gated(gates).await;
                    Answer::Pass
                }))
            }
            "/moved" => Verdict::Refuse(LocalReply::new(StatusCode::FOUND, "", "moved")),
            _ => Verdict::Pass,
        }
    }
}

/// An application behind a limit that adapts. It answers when the test opens its gates, and the
/// clock of its latency goes on by the test alone.
struct Adapted {
    mesh: tower_mesh::Mesh,
    client: SendRequest<Full<Bytes>>,
    log: Log,
    /// Requests that wait for the application.
    called: mpsc::UnboundedReceiver<Gate>,
    /// Requests that wait for the guard.
    asked: mpsc::UnboundedReceiver<Gate>,
    streams: Streams,
    _still: Still,
}

impl Adapted {
    async fn new(options: Adaptive) -> Self {
        let still = still();
        let pki = pki();
        let log = Log::default();
        let (asks, asked) = mpsc::unbounded_channel();
        let builder = app(&pki)
            .concurrency(ConcurrencyLimit::adaptive(
                options.window(Duration::from_millis(1)),
            ))
            .guard(Porter(asks))
            .telemetry(|telemetry| telemetry.on_complete(log.observe()));
        let mesh = build(builder).await;
        let (streams, router) = Streams::new();
        let (calls, called) = mpsc::unbounded_channel();
        let router = router
            .route("/healthz", on_get(|| async { "fine" }))
            .route("/panic", any(panics))
            .fallback(any(move || gated(calls.clone())));
        let served = serve(&mesh, router).await;
        Self {
            client: http2(&pki, "desk", served.address).await,
            mesh,
            log,
            called,
            asked,
            streams,
            _still: still,
        }
    }

    fn send(&mut self, path: &str) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        tokio::spawn(self.client.send_request(empty(get2(path))))
    }

    async fn ask(&mut self, path: &str) -> (u16, HeaderMap, String) {
        answered(self.send(path)).await
    }

    /// Sends so many requests at once, for which the application takes so long.
    async fn round(&mut self, count: u32, millis: u64) {
        let before = in_flight(&self.mesh);
        let waiting: Vec<_> = (0..count).map(|_| self.send("/")).collect();
        open(&mut self.called, count, millis).await;
        for waiting in waiting {
            assert_eq!(answered(waiting).await.0, 200);
        }
        self.until_in_flight(&before).await;
    }

    async fn until_in_flight(&self, requests: &str) {
        until("requests to end", || in_flight(&self.mesh) == requests).await;
    }

    fn limit(&self) -> u32 {
        let line = lines(&self.mesh, "mesh_concurrency_limit", &[]).concat();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    /// Rounds that take so long and use the limit, until it is within these bounds.
    async fn rounds_until(&mut self, millis: u64, bounds: RangeInclusive<u32>) {
        let mut rounds = 0;
        while !bounds.contains(&self.limit()) {
            self.round(self.limit(), millis).await;
            rounds += 1;
            assert!(rounds < 100, "the limit stays at {}", self.limit());
        }
    }
}

/// Opens so many gates at once, after this time.
async fn open(gates: &mut mpsc::UnboundedReceiver<Gate>, count: u32, millis: u64) {
    until("the requests to wait", || gates.len() >= count as usize).await;
    pass(Duration::from_millis(millis)).await;
    for _ in 0..count {
        gates.recv().await.unwrap().send(()).unwrap();
    }
}

async fn answered(
    waiting: JoinHandle<hyper::Result<Response<Incoming>>>,
) -> (u16, HeaderMap, String) {
    until("an answer", || waiting.is_finished()).await;
    read(waiting.await.unwrap().unwrap()).await
}

#[tokio::test]
async fn an_adaptive_limit_follows_a_slow_application() {
    let mut app = Adapted::new(Adaptive::new().initial(10).bounds(2, 20)).await;
    assert_eq!(app.limit(), 10);
    app.rounds_until(10, 15..=20).await;
    app.rounds_until(100, 2..=2).await;

    // As many as the limit wait, and one more is refused.
    let waiting = [app.send("/"), app.send("/")];
    until("the requests to wait", || app.called.len() == 2).await;
    let before = app.log.all().len();
    let (status, mut headers, text) = app.ask("/").await;
    assert_eq!((status, text.as_str()), (503, "reached concurrency limit"));
    for ours in ["date", "x-envoy-decorator-operation"] {
        headers.remove(ours);
    }
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type"], "as Envoy's");
    let grpc = get2("/clinic.Desk/Ask").header("content-type", "application/grpc");
    let refused = tokio::spawn(app.client.send_request(empty(grpc)));
    let (status, headers, _) = answered(refused).await;
    assert_eq!(
        (status, headers["grpc-status"].to_str().unwrap()),
        (200, "14")
    );
    for refused in app.log.wait(before + 2).await.split_off(before) {
        assert_eq!(refused.flags, ResponseFlags::UPSTREAM_OVERFLOW);
        let details = refused.details.as_deref();
        assert_eq!(details, Some("reached_concurrency_limit"));
    }
    assert_eq!(
        lines(&app.mesh, "mesh_concurrency_refused_total", &[]),
        ["mesh_concurrency_refused_total 2"]
    );

    // Health checks pass, also those that watch.
    assert_eq!(app.ask("/healthz").await.0, 200);
    let watch = app.send("/grpc.health.v1.Health/Watch");
    until("the watch to begin", || watch.is_finished()).await;
    let watch = watch.await.unwrap().unwrap();
    assert_eq!(watch.status(), 200);
    assert_eq!(in_flight(&app.mesh), "mesh_concurrency_in_flight 2");
    app.streams.end();

    open(&mut app.called, 2, 10).await;
    for waiting in waiting {
        assert_eq!(answered(waiting).await.0, 200);
    }
    app.until_in_flight(NONE).await;
    app.rounds_until(10, 15..=20).await;
}

/// What guards answer in the application's place is no sample, and their waits are no latency.
#[tokio::test]
async fn an_adaptive_limit_measures_the_application_alone() {
    let mut app = Adapted::new(Adaptive::new().initial(10).bounds(2, 10)).await;
    for _ in 0..60 {
        assert_eq!(app.ask("/moved").await.0, 302);
        app.until_in_flight(NONE).await;
    }
    for _ in 0..20 {
        app.round(10, 10).await;
    }
    assert_eq!(app.limit(), 10, "after redirects");
    for _ in 0..20 {
        let waiting: Vec<_> = (0..10).map(|_| app.send("/asked")).collect();
        open(&mut app.asked, 10, 500).await;
        open(&mut app.called, 10, 10).await;
        for waiting in waiting {
            assert_eq!(answered(waiting).await.0, 200);
        }
        app.until_in_flight(NONE).await;
    }
    assert_eq!(app.limit(), 10, "after waits");
}

/// Streams that use the limit up do not keep it where it is.
#[tokio::test]
async fn streams_leave_an_adaptive_limit_something_to_learn_from() {
    let mut app = Adapted::new(Adaptive::new().initial(4).bounds(2, 20)).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let stream = app.send("/stream");
        until("the stream to begin", || stream.is_finished()).await;
        streams.push(stream.await.unwrap().unwrap());
    }
    assert_eq!(in_flight(&app.mesh), "mesh_concurrency_in_flight 4");
    for _ in 0..40 {
        app.round(2, 10).await;
    }
    assert!(app.limit() > 6, "{}", app.limit());
}

#[tokio::test]
async fn a_request_that_fails_leaves_its_place() {
    let mut app = Adapted::new(Adaptive::new().initial(2).bounds(2, 2)).await;
    assert_eq!(app.ask("/panic").await.0, 500);
    app.until_in_flight(NONE).await;
    for path in ["/", "/asked"] {
        let waiting = [app.send(path), app.send(path)];
        until("the requests to wait", || {
            app.called.len() + app.asked.len() == 2
        })
        .await;
        assert_eq!(app.ask("/").await.0, 503);
        for waiting in waiting {
            waiting.abort();
        }
        app.until_in_flight(NONE).await;
        while app.called.try_recv().is_ok() || app.asked.try_recv().is_ok() {}
    }
    app.round(2, 10).await;
}
