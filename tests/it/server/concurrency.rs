//! The concurrency limit of a mesh: what counts as under way, and for how long.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::{any, get as on_get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower_mesh::concurrency::ConcurrencyLimit;
use tower_mesh::message::ResponseFlags;
use tower_mesh::testing::Pki;

use crate::support::mesh::{
    Fed, Log, Served, app, build, empty, get, get2, http1, http2, lines, read, serve, until,
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
            .route("/stream", on_get(stream))
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
