//! A guard in front of a service, alone in its layer and in the whole mesh: what it may answer, and
//! which service is then called.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Answer, Guard, GuardLayer, Guarded, Question, Verdict};
use tower_mesh::message::LocalReply;
use tower_mesh::testing::Pki;

use crate::support::mesh::{app, proven};

/// Answers as the path says.
#[derive(Clone, Copy, Debug)]
struct ByPath;

const SECOND: Duration = Duration::from_secs(1);

fn refusal() -> LocalReply {
    LocalReply::new(StatusCode::IM_A_TEAPOT, "no", "says_no")
}

impl Guard for ByPath {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        let path = head.uri.path().to_owned();
        match path.as_str() {
            "/pass" => return Verdict::Pass,
            "/refuse" => return Verdict::Refuse(refusal()),
            "/panic" => panic!("while judging"),
            _ => {}
        }
        Verdict::Ask(Question::new(async move {
            sleep(SECOND).await;
            match path.as_str() {
                "/later/pass" => Answer::Pass,
                "/later/refuse" => Answer::Refuse(refusal()),
                "/later/change" => Answer::change(|head, _| {
                    let answer = HeaderValue::from_static("changed");
                    head.headers.insert("x-answer", answer);
                    Ok(())
                }),
                "/later/change/refuse" => Answer::change(|_, _| Err(refusal())),
                "/later/change/panic" => Answer::change(|_, _| panic!("while changing")),
                _ => panic!("while asking"),
            }
        }))
    }
}

/// What comes of each path: how long it takes, the status, the text, and how often the service is
/// called.
const TABLE: [(&str, u64, u16, &str, usize); 9] = [
    ("/pass", 0, 200, "ping", 1),
    ("/refuse", 0, 418, "no", 0),
    ("/panic", 0, 500, "internal error", 0),
    ("/later/pass", 1, 200, "ping", 1),
    ("/later/refuse", 1, 418, "no", 0),
    ("/later/change", 1, 200, "changed", 1),
    ("/later/change/refuse", 1, 418, "no", 0),
    ("/later/change/panic", 1, 500, "internal error", 0),
    ("/later/panic", 1, 500, "internal error", 0),
];

/// Answers with the body of the request or a header of it. Only the one that was asked whether it
/// is ready may be called.
#[derive(Debug, Default)]
struct Echo {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
    clones: Arc<AtomicUsize>,
}

impl Clone for Echo {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self {
            is_ready: false,
            calls: Arc::clone(&self.calls),
            clones: Arc::clone(&self.clones),
        }
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: Body<Data = Bytes>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(self.is_ready, "a service that is not ready was called");
        self.is_ready = false;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let answer = match head.headers.get("x-answer") {
            Some(answer) => Bytes::copy_from_slice(answer.as_bytes()),
            None => {
                let mut body = pin!(body);
                let mut cx = Context::from_waker(Waker::noop());
                match body.as_mut().poll_frame(&mut cx) {
                    Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                    _ => Bytes::from_static(b"no body"),
                }
            }
        };
        ready(Ok(Response::new(Full::new(answer))))
    }
}

fn request(path: &str) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "app.default");
    let request = request.extension(proven("desk"));
    request.body(Full::from("ping")).unwrap()
}

async fn follows_the_table<S, B>(of: &str, echo: &Echo, mut service: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    for (path, seconds, status, text, calls) in TABLE {
        let (begun, before) = (Instant::now(), echo.calls.load(Ordering::Relaxed));
        let response = service.ready().await.unwrap().call(request(path)).await;
        let response = response.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds, "{of}: {path}");
        assert_eq!(response.status(), status, "{of}: {path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, text, "{of}: {path}");
        let called = echo.calls.load(Ordering::Relaxed) - before;
        assert_eq!(called, calls, "{of}: {path}");
    }
    // Only a request that asks clones the service.
    let asking = TABLE.iter().filter(|row| row.1 > 0).count();
    assert_eq!(echo.clones.load(Ordering::Relaxed), asking, "{of}");
}

async fn mesh() -> tower_mesh::Mesh {
    let pki = Pki::new("cluster.local").unwrap();
    app(&pki).guard(ByPath).build().await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_layer_does_what_its_guard_says() {
    let echo = Echo::default();
    let service = GuardLayer::new(ByPath).layer(echo.clone());
    echo.clones.store(0, Ordering::Relaxed);
    follows_the_table("alone", &echo, service).await;

    let echo = Echo::default();
    let shared: Arc<dyn Guard + Send + Sync> = Arc::new(ByPath);
    let service = GuardLayer::new(shared).layer(echo.clone());
    echo.clones.store(0, Ordering::Relaxed);
    follows_the_table("shared", &echo, service).await;
}

#[tokio::test(start_paused = true)]
async fn a_mesh_does_what_its_guard_says() {
    let echo = Echo::default();
    let service = mesh().await.protect(echo.clone());
    echo.clones.store(0, Ordering::Relaxed);
    follows_the_table("mesh", &echo, service).await;
}

#[test]
fn a_guarded_service_can_be_had_back() {
    let mut guarded = Guarded::new(1, ByPath);
    *guarded.get_mut() += 1;
    assert_eq!((*guarded.get_ref(), guarded.into_inner()), (2, 2));
}

/// `Pending` without a waker would hang its caller for ever.
async fn panics_when_polled_after_its_end<S>(of: &str, mut service: S)
where
    S: Service<Request<Full<Bytes>>, Error = Infallible>,
{
    for path in ["/pass", "/refuse", "/later/pass", "/later/refuse"] {
        let mut future = pin!(service.ready().await.unwrap().call(request(path)));
        assert!(future.as_mut().await.is_ok());
        let mut cx = Context::from_waker(Waker::noop());
        let again = AssertUnwindSafe(|| future.as_mut().poll(&mut cx).is_pending());
        assert!(catch_unwind(again).is_err(), "{of}: {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_that_has_ended_panics_and_does_not_hang() {
    let service = GuardLayer::new(ByPath).layer(Echo::default());
    panics_when_polled_after_its_end("alone", service).await;
    let service = mesh().await.protect(Echo::default());
    panics_when_polled_after_its_end("mesh", service).await;
    let mut question = pin!(Question::new(ready(Answer::Pass)));
    let _ = question.as_mut().await;
    let mut cx = Context::from_waker(Waker::noop());
    let again = AssertUnwindSafe(|| question.as_mut().poll(&mut cx).is_pending());
    assert!(catch_unwind(again).is_err());
}

/// A request that asks nobody carries a pointer for those that do, and no more.
#[tokio::test]
async fn what_waits_is_not_in_the_future_of_those_that_do_not() {
    let large = |_: Request<Full<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    };
    let service = tower::service_fn(large);
    let future = GuardLayer::new(ByPath)
        .layer(service)
        .call(request("/pass"));
    let answer = size_of::<Response<tower_mesh::message::GuardBody<Full<Bytes>>>>();
    assert!(
        size_of_val(&future) <= answer + 8,
        "{}",
        size_of_val(&future)
    );
}

#[test]
fn guards_and_their_futures_cross_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    fn is_sent<T: Send>(_: &T) {}
    crosses::<GuardLayer<ByPath>>();
    crosses::<Guarded<Echo, ByPath>>();
    is_sent(&Question::new(ready(Answer::Pass)));
    let mut service = GuardLayer::new(ByPath).layer(Echo::default());
    let _ = Service::<Request<Full<Bytes>>>::poll_ready(
        &mut service,
        &mut Context::from_waker(Waker::noop()),
    );
    is_sent(&service.call(request("/pass")));
}
