use std::convert::Infallible;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::ConcurrencyLimitLayer;
use crate::concurrency::ConcurrencyLimit;
use crate::context::Peer;

fn peer() -> Peer {
    let address = "192.0.2.1:1".parse().unwrap();
    Peer::plaintext(address, address)
}

#[tokio::test]
async fn a_request_ends_with_its_body() {
    let limits = ConcurrencyLimitLayer::new(&ConcurrencyLimit::fixed(1));
    let app = limits.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::from("text")))
    }));
    let mut answer = app.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(limits.stats().in_flight(), 1);
    let refused = app.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "reached concurrency limit");
    answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(limits.stats().in_flight(), 0, "that was the last frame");
    assert_eq!((limits.stats().refused(), limits.stats().limit()), (1, 1));
}

#[tokio::test]
async fn a_request_that_is_dropped_ends() {
    let limits = ConcurrencyLimitLayer::new(&ConcurrencyLimit::fixed(1));
    let waits = limits.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    }));
    let mut waiting = Box::pin(waits.clone().oneshot(Request::new(())));
    let polled = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    assert_eq!(limits.stats().in_flight(), 1);
    drop(waiting);
    assert_eq!(limits.stats().in_flight(), 0);
}

/// The connection of the peer holds the place of its tunnel.
#[tokio::test]
async fn an_upgraded_connection_counts_until_it_is_gone() {
    let limits = ConcurrencyLimitLayer::new(&ConcurrencyLimit::fixed(1));
    let app = limits.layer(service_fn(|_: Request<()>| async {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
    }));
    let peer = peer();
    let request = Request::builder().extension(peer.clone()).body(());
    drop(app.clone().oneshot(request.unwrap()).await.unwrap());
    assert_eq!(limits.stats().in_flight(), 1);
    drop(peer);
    assert_eq!(limits.stats().in_flight(), 0);
}

#[tokio::test]
async fn health_checks_pass_a_full_limit() {
    let limits = ConcurrencyLimitLayer::new(&ConcurrencyLimit::fixed(1));
    let app = limits.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("text")))
    }));
    let _held = app.clone().oneshot(Request::new(())).await.unwrap();
    let ask = |path: &str| app.clone().oneshot(Request::get(path).body(()).unwrap());
    assert_eq!(ask("/healthz?verbose").await.unwrap().status(), 200);
    assert_eq!(ask("/patients").await.unwrap().status(), 503);
    assert_eq!(limits.stats().in_flight(), 1);
}
