//! Servers that lie, stop or go away, and callers that give up: what a call makes of each.

use std::future::{poll_fn, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, Response, Version};
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower_mesh::mesh::{ClientBody, ExternalHost};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Peer, Workload};

use crate::support::mesh::{app, build, caller, lines, serve};

const SHORT: Duration = Duration::from_millis(50);

/// The client of a server in plaintext that does this with its first connection, once a request is there.
async fn talking<F>(speak: impl FnOnce(TcpStream) -> F + Send + 'static) -> Mesh
where
    F: Future<Output = ()> + Send,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        speak(stream).await;
    });
    let pki = Pki::new("cluster.local").unwrap();
    let builder = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .outside("legacy.example", ExternalHost::plaintext().at([address]));
    build(builder).await
}

const LEGACY: &str = "http://legacy.example/";

/// Neither is a head; the call ends with its time.
#[tokio::test]
async fn a_head_that_never_ends_is_bounded() {
    for (first, then) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nx-slow: ", "x"),
        ("", ""),
    ] {
        let desk = talking(async move |mut stream: TcpStream| {
            let mut next = first;
            while stream.write_all(next.as_bytes()).await.is_ok() {
                next = then;
                // A piece for each turn of the clock.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let error = desk.client().get(LEGACY).timeout(SHORT).await.unwrap_err();
        assert!(error.is_timeout(), "{then}: {error}");
        let counted = lines(&desk, "istio_requests_total", &[]);
        assert_eq!(counted.len(), 1, "{counted:?}");
    }
}

/// Nothing is taken in advance for a length that is only announced.
#[tokio::test]
async fn a_length_that_lies_costs_nothing() {
    let is_read = Arc::new(Notify::new());
    let go = Arc::clone(&is_read);
    let desk = talking(async move |mut stream: TcpStream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\nab";
        stream.write_all(head.as_bytes()).await.unwrap();
        go.notified().await;
        stream.write_all(b"cd").await.unwrap();
    })
    .await;
    let body = desk.client().get(LEGACY).await.unwrap().into_body();
    is_read.notify_one();
    let error = body.limit(usize::MAX).bytes().await.unwrap_err();
    assert_eq!(error.to_string(), "the body of the response broke off");
}

/// HEAD tells the length of what GET would give.
#[tokio::test]
async fn an_answer_without_a_body_is_read_as_empty() {
    let pki = Pki::new("cluster.local").unwrap();
    let large = || ready(([("content-length", "3000000")], ""));
    let served = serve(&build(app(&pki)).await, Router::new().fallback(any(large))).await;
    let desk = caller(&pki, "desk", served.address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let request = Request::head("http://app.default/").version(version);
        let request = request.body(ClientBody::empty()).unwrap();
        let response = desk.client().request(request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "3000000");
        let body = response.into_body().bytes().await;
        assert_eq!(body.unwrap(), "", "{version:?}");
    }
}

/// Says which connection a request came on, or nothing under `/never`.
fn whence() -> Router {
    let whence = any(|peer: Peer| async move { peer.remote_addr().to_string() });
    let never = any(std::future::pending::<&str>);
    Router::new().route("/", whence).route("/never", never)
}

/// One of HTTP/1 cannot be used again: a late answer would be taken for the next call's.
#[tokio::test]
async fn a_timeout_ends_a_connection_of_http1_and_none_of_http2() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = serve(&build(app(&pki)).await, whence()).await;
    let desk = caller(&pki, "desk", served.address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let get = |path: &str| {
            let call = desk.client().get(format!("http://app.default{path}"));
            call.version(version)
        };
        let ask = async || {
            let text = get("/").await.unwrap().into_body().text().await.unwrap();
            // A connection goes back to the pool once its task has run.
            crate::support::mesh::settle().await;
            text.parse::<SocketAddr>().unwrap()
        };
        let before = ask().await;
        assert_eq!(ask().await, before, "{version:?}");
        let late = get("/never").timeout(SHORT).await;
        assert!(late.unwrap_err().is_timeout());
        assert_eq!(ask().await == before, version == Version::HTTP_2);
    }
}

#[tokio::test]
async fn a_call_that_is_polled_after_its_end_errs_and_ends_once() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = serve(&build(app(&pki)).await, whence()).await;
    let desk = caller(&pki, "desk", served.address).await;
    // What is answered has all the time that a busy machine takes.
    let enough = Duration::from_secs(60);
    for (path, time, count) in [("", enough, 1), ("never", SHORT, 2)] {
        let call = desk.client().get(format!("http://app.default/{path}"));
        let mut call = pin!(call.timeout(time).into_future());
        let ended = call.as_mut().await.map(|answer| drop(answer.into_body()));
        assert_eq!(ended.is_ok(), path.is_empty());
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        let Poll::Ready(Err(error)) = polled else {
            panic!("{path:?}: no waker would be called");
        };
        assert!(error.to_string().contains("after its end"), "{error}");
        let counted = lines(&desk, "istio_requests_total", &[]);
        assert_eq!(counted.len(), count, "{counted:?}");
        assert!(
            counted.iter().all(|line| line.ends_with(" 1")),
            "{counted:?}"
        );
    }
}

/// gRPC's own deadline, as tonic writes it and its channel keeps it.
#[tokio::test]
async fn a_deadline_of_grpc_is_kept_by_the_client() {
    let pki = Pki::new("cluster.local").unwrap();
    let never = any(std::future::pending::<&str>);
    let served = serve(&build(app(&pki)).await, Router::new().fallback(never)).await;
    let desk = caller(&pki, "desk", served.address).await;
    let origin = "http://app.default".parse().unwrap();
    let mut client = tonic::client::Grpc::with_origin(desk.client().clone(), origin);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    request.set_timeout(SHORT);
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let called = client.unary(request, "/a.B/C".parse().unwrap(), codec);
    let error = called.await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded, "{error}");
    let counted = lines(&desk, "istio_requests_total", &[r#"response_flags="UT""#]);
    assert_eq!(counted.len(), 1, "{counted:?}");
}

/// The time of a call is over once its connection is another protocol's.
#[tokio::test]
async fn an_upgraded_connection_outlives_the_timeout_of_its_call() {
    let pki = Pki::new("cluster.local").unwrap();
    let echo = any(|mut request: axum::extract::Request| async move {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let mut io = hyper_util::rt::TokioIo::new(upgraded);
            let byte = io.read_u8().await.unwrap();
            io.write_u8(byte + 1).await.unwrap();
        });
        let head = Response::builder().status(101);
        let head = head
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        head.body(axum::body::Body::new(Empty::new())).unwrap()
    });
    let served = serve(&build(app(&pki)).await, Router::new().fallback(echo)).await;
    let desk = caller(&pki, "desk", served.address).await;
    let call = desk.client().get("http://app.default/");
    let call = call
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    let call = call.timeout(Duration::from_secs(20));
    let response = call.await.unwrap();
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    crate::support::mesh::pass(Duration::from_secs(31)).await;
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    io.write_u8(7).await.unwrap();
    assert_eq!(io.read_u8().await.unwrap(), 8);
}
