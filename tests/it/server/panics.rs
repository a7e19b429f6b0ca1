//! Panics in handlers, futures and bodies.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};
use tower_mesh::context::Peer;
use tower_mesh::message::EndKind;

use crate::support::mesh::{Log, app, build, empty, get, get2, http1, http2, lines, read, serve};

use super::faults::pki;

/// A body that sends one frame and then panics.
struct PanickingBody(bool);

impl Body for PanickingBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(!self.0, "a body that panics");
        self.0 = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part")))))
    }
}

/// An answer that is ready at once, and panics when it is let go of.
struct PanickingDrop;

impl Future for PanickingDrop {
    type Output = Result<Response<AxumBody>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(AxumBody::empty())))
    }
}

impl Drop for PanickingDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a drop that panics");
    }
}

/// R-09: an application that panics when its future is dropped, with the answer already given.
#[tokio::test]
async fn a_future_that_panics_when_it_is_dropped_is_a_panic_like_others() {
    let pki = pki();
    let log = Log::default();
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()))).await;
    let bomb = service_fn(|_: Request<_>| PanickingDrop);
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let request = Request::get("/").header("host", "app").extension(peer);
    let request = request.body(AxumBody::empty()).unwrap();
    let response = mesh.protect(bomb).oneshot(request).await.unwrap();
    assert_eq!(read(response).await.0, 500);
    let seen = log.all();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].details.as_deref(), Some("handler_panicked"));
    assert_eq!(seen[0].status, Some(500));
}

fn panics() -> Router {
    let in_call = service_fn(|request: Request<AxumBody>| {
        assert!(request.uri().path().is_empty(), "a call that panics");
        async { Ok::<_, std::convert::Infallible>(Response::new(AxumBody::empty())) }
    });
    let in_future = any(|| async {
        tokio::task::yield_now().await;
        panic!("a future that panics");
        #[expect(unreachable_code, reason = "the type of the handler")]
        ""
    });
    let in_body = any(|| async { AxumBody::new(PanickingBody(false)) });
    Router::new()
        .route_service("/call", in_call)
        .route("/future", in_future)
        .route("/body", in_body)
        .fallback(any(|| async { "hello" }))
}

/// R-09.
#[tokio::test]
async fn a_handler_that_panics_takes_its_own_request_down_and_no_other() {
    let pki = pki();
    let log = Log::default();
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()))).await;
    let served = serve(&mesh, panics()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    for path in ["/call", "/future"] {
        let response = sender.send_request(empty(get2(path))).await.unwrap();
        assert_eq!(read(response).await.0, 500, "{path}");
        let request = get2(path).header("content-type", "application/grpc");
        let response = sender.send_request(empty(request)).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "13", "{path}");
        assert_eq!(response.status(), 200);
    }
    let response = sender.send_request(empty(get2("/body"))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    // The connection lives.
    let response = sender.send_request(empty(get2("/"))).await.unwrap();
    assert_eq!(read(response).await.2, "hello");

    let mut sender = http1(&pki, "desk", served.address).await;
    for path in ["/call", "/future"] {
        let response = sender.send_request(empty(get(path))).await.unwrap();
        assert_eq!(read(response).await.0, 500, "{path}");
    }
    // The connection ends, with or without the head.
    if let Ok(response) = sender.send_request(empty(get("/body"))).await {
        assert!(response.into_body().collect().await.is_err());
    }
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(read(response).await.2, "hello");

    let seen = log.wait(10).await;
    let panicked = |details: &str| {
        let is = |seen: &&crate::support::mesh::Seen| seen.details.as_deref() == Some(details);
        seen.iter().filter(is).count()
    };
    assert_eq!(panicked("handler_panicked"), 6, "{seen:?}");
    let failed = seen.iter().filter(|seen| seen.end == EndKind::Failed);
    assert_eq!(failed.count(), 2, "a body that panics has failed: {seen:?}");
    let counted = lines(&mesh, "istio_requests_total", &[r#"response_code="500""#]);
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(counted[0].ends_with(" 4"), "{counted:?}");
}
