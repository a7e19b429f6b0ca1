//! Handlers and bodies that fail: each request leaves one line, one span and one count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Notify, mpsc};
use tower_mesh::Workload;
use tower_mesh::message::{ByteCount, Direction, End, Record, Report, Watch};
use tower_mesh::metrics::{Format, Registry};

use super::watched::Watched;
use crate::support::mesh::{empty, get, get2, http1, http2};

type Sent = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// What a body does after its first frame.
#[derive(Clone, Copy)]
enum Then {
    Fails,
    Panics,
    /// Ends, although its head has announced more.
    Ends,
    /// Says nothing more.
    Waits,
}

struct Body {
    frames: mpsc::UnboundedReceiver<Bytes>,
    then: Then,
    heard: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if let Poll::Ready(Some(data)) = self.frames.poll_recv(cx) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let heard = self.heard.as_mut().poll(cx);
        match (heard, self.then) {
            (Poll::Pending, _) | (_, Then::Waits) => Poll::Pending,
            (_, Then::Fails) => Poll::Ready(Some(Err("a body that fails"))),
            (_, Then::Ends) => Poll::Ready(None),
            (_, Then::Panics) => panic!("a body that panics"),
        }
    }
}

/// A response whose body goes on once its first frame was heard.
fn response(then: Then, heard: &Arc<Notify>) -> Response<AxumBody> {
    let heard = Arc::clone(heard);
    let (feed, frames) = mpsc::unbounded_channel();
    feed.send(Bytes::from_static(b"part")).unwrap();
    let body = Body {
        frames,
        then,
        heard: Box::pin(async move { heard.notified().await }),
    };
    let mut response = Response::new(AxumBody::new(body));
    if let Then::Ends = then {
        let length = http::HeaderValue::from_static("400");
        response.headers_mut().insert("content-length", length);
    }
    response
}

/// Handlers that panic at once, later, or never answer, and bodies.
fn routes(came: &Arc<Notify>, heard: &Arc<Notify>) -> Router {
    let came = Arc::clone(came);
    let mut routes = Router::new()
        .route(
            "/panics",
            any(|| async {
                panic!("a handler that panics");
                #[expect(unreachable_code, reason = "the type of the handler")]
                ""
            }),
        )
        .route(
            "/panics-later",
            any(|| async {
                tokio::task::yield_now().await;
                panic!("a handler that panics");
                #[expect(unreachable_code, reason = "the type of the handler")]
                ""
            }),
        )
        .route(
            "/hangs",
            any(async move || {
                came.notify_one();
                std::future::pending::<&str>().await
            }),
        );
    for (path, then) in [
        ("/breaks", Then::Fails),
        ("/panics-within", Then::Panics),
        ("/ends-early", Then::Ends),
        ("/is-left", Then::Waits),
    ] {
        let heard = Arc::clone(heard);
        routes = routes.route(path, any(async move || response(then, &heard)));
    }
    routes
}

#[tokio::test]
async fn what_fails_leaves_one_line_one_span_and_one_count() {
    let (came, heard) = (Arc::default(), Arc::default());
    let watched = Watched::start(routes(&came, &heard)).await;
    let gone = ["DC downstream_remote_disconnect", "DR http2.remote_reset"];
    let broken = "UC upstream_reset_after_response_started{connection_termination}";
    // The path, the code, flags and details over HTTP/1.1 and HTTP/2, and whether it is an error.
    for (path, code, [over_http1, over_http2], is_error) in [
        ("/panics", "500", ["- handler_panicked"; 2], true),
        ("/panics-later", "500", ["- handler_panicked"; 2], true),
        ("/hangs", "0", gone, true),
        ("/is-left", "200", gone, false),
        ("/breaks", "200", [broken; 2], false),
        ("/panics-within", "200", [broken; 2], false),
        ("/ends-early", "200", [broken; 2], false),
    ] {
        for (version, expected) in [
            (Version::HTTP_11, over_http1),
            (Version::HTTP_2, over_http2),
        ] {
            let _connection = ask(&watched, version, path, &came, &heard).await;
            let flags = expected.split(' ').next().unwrap();
            let left = watched.one(code, flags, &[]).await;
            assert_eq!(
                left.line,
                format!("{code} {expected}"),
                "{version:?} {path}"
            );
            let error = is_error.then_some("true");
            assert_eq!(left.span.tag("error"), error, "{version:?} {path}");
        }
    }
    // And what does not fail still has its own.
    drop(ask(&watched, Version::HTTP_11, "/else", &came, &heard).await);
    watched.one("404", "-", &[]).await;
}

/// Asks over a connection of its own. Of a handler that hangs, and of a body that stops, the caller
/// lets go: over HTTP/2 of the stream alone, whose connection is returned.
async fn ask(
    watched: &Watched,
    version: Version,
    path: &str,
    came: &Notify,
    heard: &Notify,
) -> Option<SendRequest<Full<Bytes>>> {
    let address = watched.served.address;
    let mut connection = None;
    let sent = match version {
        Version::HTTP_2 => {
            let sender = connection.insert(http2(&watched.pki, "desk", address).await);
            let request = empty(get2(path).method(Method::POST));
            Box::pin(sender.send_request(request)) as Sent
        }
        _ => {
            let mut sender = http1(&watched.pki, "desk", address).await;
            let request = empty(get(path).method(Method::POST));
            Box::pin(async move { sender.send_request(request).await }) as Sent
        }
    };
    if path == "/hangs" {
        tokio::select! {
            _ = sent => panic!("an answer of a handler that hangs"),
            () = came.notified() => {}
        }
        return connection;
    }
    let mut body = sent.await.unwrap().into_body();
    let _ = body.frame().await;
    if path != "/is-left" {
        if ["/breaks", "/panics-within", "/ends-early"].contains(&path) {
            heard.notify_one();
        }
        while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
    }
    connection
}

/// Of a request that seems to end before it has begun. (Spans: see `handler_spans`.)
#[test]
fn a_clock_that_steps_back_makes_no_negative_duration() {
    struct Told(mpsc::UnboundedSender<Duration>);
    impl Watch for Told {
        fn ended(&mut self, report: &Report<'_>) {
            assert!(report.started() <= SystemTime::now());
            self.0.send(report.duration).unwrap();
        }
    }
    let later = Instant::now() + Duration::from_secs(3_600);
    let (mut head, ()) = Request::get("/").body(()).unwrap().into_parts();
    let size = ByteCount::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    drop(Record::new(
        Direction::Inbound,
        &head,
        None,
        size,
        later,
        Told(tell),
    ));
    // What lines of the access log show.
    assert_eq!(told.try_recv(), Ok(Duration::ZERO));

    let registry = Registry::new();
    let metrics = registry.server(&Workload::new("default", "app"));
    let record = metrics.begin(&mut head, None, ByteCount::default(), later);
    record.finish(End::cancelled(), Instant::now());
    let text = registry.render(Format::Text);
    let sum = "istio_request_duration_milliseconds_sum{";
    let sum = text.lines().find(|line| line.starts_with(sum));
    assert!(sum.unwrap().ends_with(" 0"), "{sum:?}");
}
