//! Calls of which the server has seen nothing are made once more, bodies and all; and who waited for another call's connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tower_mesh::mesh::{ClientBody, ClientError};
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Acceptor, Credentials, Reason, Settings};
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{Fed, app, build, caller, pass, read, serve, settle, still};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// A server of HTTP/2 that refuses so many streams untouched, then answers with the body that it got.
async fn refusing(pki: &Pki, times: u32) -> SocketAddr {
    let identity = pki.identity("default", "app").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&identity, Settings::default()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, remote) = socket.accept().await.unwrap();
        let (stream, _) = acceptor.accept(tcp, remote, address).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let left = Arc::new(AtomicU32::new(times));
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                let mut body = request.into_body();
                let mut text = Vec::new();
                let is_refused = left.load(Ordering::Relaxed) > 0;
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                    text.extend_from_slice(&data);
                    if is_refused {
                        break;
                    }
                }
                if is_refused {
                    left.fetch_sub(1, Ordering::Relaxed);
                    return respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                let trailers = poll_fn(|cx| body.poll_trailers(cx)).await.unwrap();
                let said = trailers.map_or(0, |trailers| trailers.len());
                let response = Response::builder().header("trailers", said).body(());
                let mut sending = respond.send_response(response.unwrap(), false).unwrap();
                sending.send_data(text.into(), true).unwrap();
            });
        }
    });
    address
}

async fn call(desk: &Mesh, body: ClientBody) -> Result<(u16, HeaderMap, String), ClientError> {
    let request = Request::post("http://app.default/").version(Version::HTTP_2);
    let response = desk.client().request(request.body(body).unwrap()).await?;
    Ok(read(response).await)
}

/// RFC 9113 §8.7: whatever the call is, and however its body comes.
#[tokio::test]
async fn a_refused_call_is_made_again_with_its_body() {
    let pki = pki();
    for times in [0, 1, 3] {
        for body in ["none", "whole", "streamed"] {
            let desk = caller(&pki, "desk", refusing(&pki, times).await).await;
            let (sent, wanted, trailers) = match body {
                "none" => (ClientBody::empty(), String::new(), "0"),
                "whole" => (
                    ClientBody::from("hello, server"),
                    "hello, server".to_owned(),
                    "0",
                ),
                _ => {
                    let (feed, fed) = mpsc::unbounded_channel();
                    tokio::spawn(async move {
                        for piece in ["hello", ", ", "server"] {
                            feed.send(Frame::data(Bytes::from(piece))).unwrap();
                            tokio::task::yield_now().await;
                        }
                        let end = [("end".parse().unwrap(), HeaderValue::from_static("so"))];
                        let end = Frame::trailers(end.into_iter().collect());
                        feed.send(end).unwrap();
                    });
                    (
                        ClientBody::stream(Fed(fed)),
                        "hello, server".to_owned(),
                        "1",
                    )
                }
            };
            let (status, headers, text) = call(&desk, sent).await.unwrap();
            assert_eq!(
                (status, text),
                (200, wanted),
                "{body}, refused {times} times"
            );
            assert_eq!(
                headers["trailers"], trailers,
                "{body}, refused {times} times"
            );
        }
    }
}

/// The server's own bound of a call that is made again is what is left of the first one.
#[tokio::test]
async fn a_call_that_is_made_again_tells_the_time_that_is_left() {
    let _still = still();
    let pki = pki();
    let identity = pki.identity("default", "app").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&identity, Settings::default()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (tcp, remote) = socket.accept().await.unwrap();
        let (stream, _) = acceptor.accept(tcp, remote, address).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut is_first = true;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let headers = request.headers();
            let time = headers["x-envoy-expected-rq-timeout-ms"].clone();
            told.send(time).unwrap();
            if std::mem::replace(&mut is_first, false) {
                pass(Duration::from_secs(1)).await;
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                respond.send_response(Response::new(()), true).unwrap();
            }
        }
    });
    let desk = caller(&pki, "desk", address).await;
    let call = desk.client().get("http://app.default/");
    let call = call
        .version(Version::HTTP_2)
        .timeout(Duration::from_secs(5));
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(heard.recv().await.unwrap(), "5000");
    assert_eq!(heard.recv().await.unwrap(), "4000");
}

/// no more of a body is kept than 64 KiB, and no call made for ever.
#[tokio::test]
async fn what_is_large_or_refused_for_ever_is_an_error() {
    let pki = pki();
    let desk = caller(&pki, "desk", refusing(&pki, 4).await).await;
    assert!(call(&desk, ClientBody::from("hello")).await.is_err());
    let desk = caller(&pki, "desk", refusing(&pki, 1).await).await;
    let large = ClientBody::from(vec![b'x'; 65 * 1024]);
    assert!(call(&desk, large).await.is_err());
}

/// An address whose connections reach another once they may.
async fn held_up(to: SocketAddr) -> (SocketAddr, Arc<Semaphore>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let go = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&go);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = socket.accept().await {
            let waits = Arc::clone(&waits);
            tokio::spawn(async move {
                let _turn = waits.acquire().await.unwrap();
                let mut far = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, go)
}

/// Who gives up while it connects takes nobody along that waits for the same connection.
#[tokio::test]
async fn a_call_that_gives_up_leaves_the_others_their_connection() {
    let pki = pki();
    let hello = Router::new().fallback(any(|body: String| async move { body }));
    let served = serve(&build(app(&pki)).await, hello).await;
    let (address, go) = held_up(served.address).await;
    let desk = caller(&pki, "desk", address).await;
    let ask = |body: &'static str| {
        let desk = desk.clone();
        tokio::spawn(async move { call(&desk, ClientBody::from(body)).await })
    };
    let first = ask("first");
    settle().await;
    let others = [(); 20].map(|()| ask("other"));
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go.add_permits(100);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().2, "other");
    }
}

/// Short timeouts of others are not the end of a patient call.
#[tokio::test]
async fn however_many_give_up_one_after_the_other() {
    let pki = pki();
    let hello = Router::new().fallback(any(|body: String| async move { body }));
    let served = serve(&build(app(&pki)).await, hello).await;
    let (address, go) = held_up(served.address).await;
    let desk = caller(&pki, "desk", address).await;
    let ask = |body: &'static str| {
        let desk = desk.clone();
        tokio::spawn(async move { call(&desk, ClientBody::from(body)).await })
    };
    let hasty = [(); 10].map(|()| ask("hasty"));
    let patient = ask("patient");
    settle().await;
    for call in hasty {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        settle().await;
    }
    go.add_permits(100);
    assert_eq!(patient.await.unwrap().unwrap().2, "patient");
}

/// Who waited for a connection that could not be made hears why.
#[tokio::test]
async fn everybody_who_waited_hears_why_there_is_no_connection() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, Router::new()).await;
    let (address, go) = held_up(served.address).await;
    let wrong = pki.identity("default", "wrong").unwrap();
    let builder = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .upstream("app.default", [address], [wrong.svid().spiffe_id().clone()]);
    let desk = build(builder).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let desk = desk.clone();
        calls.spawn(async move { call(&desk, ClientBody::empty()).await });
    }
    settle().await;
    go.add_permits(100);
    while let Some(called) = calls.join_next().await {
        let error = called.unwrap().unwrap_err();
        let reason = error.handshake().map(|handshake| handshake.reason());
        assert!(error.is_connect());
        assert_eq!(reason, Some(Reason::IdNotAllowed), "{error}");
    }
}
