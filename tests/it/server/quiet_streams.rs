//! Whose body may be silent for as long as it likes, under `mesh.serve`.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower_mesh::mesh::HttpLimits;
use tower_mesh::testing::Pki;

use crate::support::mesh::{
    Fed, app, build, http1, http2, read, reader, seconds, serve, settle, still,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

type Feed = mpsc::UnboundedSender<Frame<Bytes>>;

fn call(
    sender: &mut SendRequest<Fed>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (Feed, JoinHandle<String>) {
    let (feed, fed) = mpsc::unbounded_channel();
    feed.send(Frame::data("x".into())).unwrap();
    let uri = format!("http://app.default{path}");
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sent = sender.send_request(request.body(Fed(fed)).unwrap());
    (
        feed,
        tokio::spawn(async move { read(sent.await.unwrap()).await.2 }),
    )
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

/// Whether this request's body may be silent for 45 s.
async fn may_rest(
    sender: &mut SendRequest<Fed>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> bool {
    let (feed, answer) = call(sender, method, path, headers);
    seconds(45).await;
    let may_rest = !answer.is_finished();
    drop(feed);
    let text = answer.await.unwrap();
    assert_eq!(text, if may_rest { "read 1" } else { "cut short" });
    may_rest
}

/// only what is gRPC in every respect, a header is not enough.
#[tokio::test]
async fn only_grpc_may_be_quiet() {
    let _still = still();
    let pki = pki();
    let served = serve(&build(app(&pki)).await, reader()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    let te = ("te", "trailers");
    let of = |content_type| [("content-type", content_type), te];
    for (method, headers, expected) in [
        ("POST", of("application/grpc").as_slice(), true),
        ("POST", &of("application/grpc+proto"), true),
        ("POST", &of("application/grpc")[..1], false),
        ("PUT", &of("application/grpc"), false),
        ("DELETE", &of("application/grpc"), false),
        ("POST", &of("application/grpc-web"), false),
        ("POST", &of("application/grpc-web+proto"), false),
        ("POST", &of("application/grpcx"), false),
        ("POST", &of("text/plain"), false),
        ("POST", &[te], false),
        (
            "POST",
            &[
                ("content-type", "application/grpc"),
                ("content-type", "text/plain"),
                te,
            ],
            false,
        ),
    ] {
        let rests = may_rest(&mut sender, method, "/a.B/Watch", headers).await;
        assert_eq!(rests, expected, "{method} {headers:?}");
    }
    // HTTP/1 carries no gRPC.
    let mut sender = http1(&pki, "desk", served.address).await;
    let (feed, fed) = mpsc::unbounded_channel();
    feed.send(Frame::data("x".into())).unwrap();
    let request = Request::post("/a.B/Watch").header("host", "app.default");
    let request = request.header("te", "trailers");
    let request = request.header("content-type", "application/grpc");
    let request = request.body(Fed(fed)).unwrap();
    let answer =
        tokio::spawn(async move { read(sender.send_request(request).await.unwrap()).await.2 });
    seconds(45).await;
    assert_eq!(answer.await.unwrap(), "cut short");
}

async fn many(address: SocketAddr, pki: &Pki, count: usize) -> Vec<(Feed, JoinHandle<String>)> {
    let mut sender = http2(pki, "desk", address).await;
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push(call(&mut sender, "POST", "/a.B/Watch", GRPC));
        settle().await;
    }
    calls
}

/// of a hundred and two quiet streams, those that came last keep the bound; another connection has a hundred of its own.
#[tokio::test]
async fn a_hundred_streams_of_a_connection_may_be_quiet() {
    let _still = still();
    let pki = pki();
    let mut limits = HttpLimits::default();
    limits.streams = 200;
    let served = serve(
        &build(app(&pki).listener(|listener| listener.http(limits))).await,
        reader(),
    )
    .await;
    let mut calls = many(served.address, &pki, 102).await;
    let others = many(served.address, &pki, 2).await;
    seconds(45).await;
    let cut: Vec<_> = (0..calls.len())
        .filter(|&at| calls[at].1.is_finished())
        .collect();
    assert_eq!(cut, [100, 101]);
    assert!(others.iter().all(|(_, answer)| !answer.is_finished()));
    for (feed, answer) in calls.drain(..).take(100) {
        drop(feed);
        assert_eq!(answer.await.unwrap(), "read 1");
    }
}

/// A stream that is over gives its place to another.
#[tokio::test]
async fn a_stream_that_ends_leaves_its_place() {
    let _still = still();
    let pki = pki();
    let mut limits = HttpLimits::default();
    limits.streams = 200;
    let served = serve(
        &build(app(&pki).listener(|listener| listener.http(limits))).await,
        reader(),
    )
    .await;
    let mut sender = http2(&pki, "desk", served.address).await;
    for _ in 0..150 {
        let (feed, answer) = call(&mut sender, "POST", "/a.B/Watch", GRPC);
        drop(feed);
        assert_eq!(answer.await.unwrap(), "read 1");
    }
    for _ in 0..150 {
        let (feed, answer) = call(&mut sender, "POST", "/a.B/Watch", GRPC);
        settle().await;
        answer.abort();
        drop(feed);
        settle().await;
    }
    assert!(may_rest(&mut sender, "POST", "/a.B/Watch", GRPC).await);
}

/// Where methods are listed, streams of no other may be quiet.
#[tokio::test]
async fn only_listed_methods_may_be_quiet() {
    let _still = still();
    let pki = pki();
    let mesh = app(&pki).listener(|listener| listener.quiet_grpc(["/a.B/Watch", "/a.C/"]));
    let served = serve(&build(mesh).await, reader()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    for (path, expected) in [
        ("/a.B/Watch", true),
        ("/a.C/Any", true),
        ("/a.B/WatchAll", false),
        ("/a.B/Get", false),
        ("/a.C/../a.B/Get", false),
        ("/health", false),
    ] {
        let rests = may_rest(&mut sender, "POST", path, GRPC).await;
        assert_eq!(rests, expected, "{path}");
    }
    let error = app(&pki)
        .listener(|listener| listener.quiet_grpc(["a.B/Watch"]))
        .build()
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("quiet_grpc: \"a.B/Watch\""), "{error}");
}
