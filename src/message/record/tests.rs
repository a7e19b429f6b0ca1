//! Every way an exchange can end, and that each is reported once.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::message::{Begin, CountingBody, EndKind, Watch, WatchLayer};

type Lines = Rc<RefCell<Vec<String>>>;

/// Notes each step.
#[derive(Clone, Default)]
struct Notes {
    lines: Lines,
    panics: bool,
}

impl Notes {
    fn note(&self, line: impl Into<String>) {
        self.lines.borrow_mut().push(line.into());
    }
}

impl Watch for Notes {
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        self.note("in");
        let answer = poll();
        self.note("out");
        answer
    }

    fn dropping(&mut self, drop: impl FnOnce()) {
        self.note("dropping");
        drop();
    }

    fn answered(&mut self, head: &mut response::Parts) {
        self.note(format!("answered {}", head.status));
    }

    fn progress(&mut self, messages: u64) {
        self.note(format!("{messages} messages"));
    }

    fn ended(&mut self, report: &Report<'_>) {
        let status = report.status.map_or(0, |status| status.as_u16());
        self.note(format!(
            "{:?} {status} {} up {} down {}",
            report.end.kind,
            report.flags,
            report.request_bytes,
            report.response_bytes()
        ));
        assert!(!self.panics, "an observer panics");
    }
}

impl Begin for Notes {
    type Watch = Self;
    type Body<B: Body> = CountingBody<B>;

    fn begin<B: Body>(&self, request: Request<B>) -> (Request<CountingBody<B>>, Record<Self>) {
        let (request, count) = CountingBody::wrap(request);
        let (head, body) = request.into_parts();
        let (now, watch) = (Instant::now(), self.clone());
        let record = Record::new(Direction::Inbound, &head, None, count, now, watch);
        (Request::from_parts(head, body), record)
    }
}

type Answer = Result<Response<Full<Bytes>>, &'static str>;

fn post() -> Request<Full<Bytes>> {
    Request::post("/").body(Full::from("request")).unwrap()
}

fn answer() -> Response<Full<Bytes>> {
    Response::new(Full::from("response"))
}

/// A service that reads its request and returns this response.
fn service(
    notes: &Notes,
    answer: Answer,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<impl Body<Data = Bytes, Error = Infallible>>,
    Error = &'static str,
> {
    let layer = WatchLayer::new(notes.clone());
    let mut answer = Some(answer);
    layer.layer(service_fn(
        move |request: Request<CountingBody<Full<Bytes>>>| {
            let answer = answer.take().unwrap();
            async move {
                request.into_body().collect().await.unwrap();
                answer
            }
        },
    ))
}

fn ends(notes: &Notes) -> Vec<String> {
    let lines = notes.lines.borrow();
    let ends = ["Complete", "Failed", "Cancelled"];
    let is_end = |line: &&String| ends.iter().any(|end| line.starts_with(end));
    lines.iter().filter(is_end).cloned().collect()
}

#[tokio::test]
async fn a_body_that_is_read_ends_its_exchange() {
    let notes = Notes::default();
    let response = service(&notes, Ok(answer())).oneshot(post()).await.unwrap();
    assert!(ends(&notes).is_empty());
    response.into_body().collect().await.unwrap();
    let lines = notes.lines.borrow();
    assert_eq!(
        *lines,
        [
            // The call, the poll, its head, the poll of the body, which also drops it, and its end.
            "in",
            "out",
            "in",
            "out",
            "answered 200 OK",
            "in",
            "out",
            "Complete 200 - up 7 down 8"
        ]
    );
}

#[tokio::test]
async fn each_other_end_is_reported_once() {
    let notes = Notes::default();
    let failed = service(&notes, Err("broken")).oneshot(post()).await;
    assert!(failed.is_err());
    assert_eq!(ends(&notes), ["Failed 0 UC up 7 down 0"]);

    let notes = Notes::default();
    drop(service(&notes, Ok(answer())).oneshot(post()).await);
    assert_eq!(ends(&notes), ["Cancelled 200 DC up 7 down 0"]);

    let notes = Notes::default();
    let never = WatchLayer::new(notes.clone()).layer(service_fn(|_| pending::<Answer>()));
    let mut call = Box::pin(never.oneshot(post()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    drop(call);
    assert_eq!(ends(&notes), ["Cancelled 0 DC up 0 down 0"]);

    let notes = Notes::default();
    let panics = |_| -> Ready<Answer> { panic!("a service panics") };
    let mut panicking = WatchLayer::new(notes.clone()).layer(service_fn(panics));
    let called = catch_unwind(AssertUnwindSafe(|| drop(panicking.call(post()))));
    assert!(called.is_err());
    assert_eq!(ends(&notes), ["Cancelled 0 DC up 0 down 0"]);
}

#[tokio::test]
async fn an_observer_that_panics_harms_neither_request_nor_process() {
    let notes = Notes {
        panics: true,
        ..Notes::default()
    };
    let response = service(&notes, Ok(answer())).oneshot(post()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "response");
    assert_eq!(ends(&notes), ["Complete 200 - up 7 down 8"]);

    // This also holds while the thread unwinds.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _response = ready(service(&notes, Ok(answer())).oneshot(post()));
        let (_, _record) = notes.begin(post());
        panic!("a service panics")
    }));
    assert!(unwound.is_err());
    assert_eq!(ends(&notes).len(), 2);
}

#[test]
fn a_future_that_has_ended_panics_and_does_not_hang() {
    let notes = Notes::default();
    let mut layered = WatchLayer::new(notes).layer(service_fn(|_| ready(Answer::Err("broken"))));
    let mut call = pin!(layered.call(post()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
    let again = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready()));
    assert!(again.is_err());
}

/// Keeps what is reported to it.
#[derive(Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Watch for Told {
    fn ended(&mut self, report: &Report<'_>) {
        let peer = report.peer.map(|peer| peer.remote_addr().to_string());
        self.0.borrow_mut().push(format!(
            "{:?} {:?} {} {:?} {:?} {:?} {:?} {}",
            report.direction,
            report.version,
            report.method,
            report.authority,
            report.path,
            report.counted_status.map(|status| status.as_u16()),
            peer,
            report.flags
        ));
        let age = SystemTime::now().duration_since(report.started()).unwrap();
        assert!(age < Duration::from_secs(60));
        assert!(report.duration <= age + Duration::from_secs(1));
    }
}

/// J-25: an observer may write what it gets into a log.
#[test]
fn a_report_shows_no_password_and_no_query() {
    let told = Rc::default();
    let hosts = ["ward:s3cret@app", "app/?access_token=s3cret"];
    let mut rows: Vec<_> = hosts.map(|host| (Direction::Inbound, "/x", host)).into();
    let uri = "http://ward:s3cret@app/x?access_token=s3cret";
    rows.push((Direction::Inbound, uri, "app"));
    rows.push((Direction::Outbound, uri, "app"));
    for (direction, uri, host) in rows {
        let (head, ()) = Request::get(uri)
            .header("host", host)
            .body(())
            .unwrap()
            .into_parts();
        let (body, now, watch) = (ByteCount::default(), Instant::now(), Told(Rc::clone(&told)));
        drop(Record::new(direction, &head, None, body, now, watch).with_target(&head));
    }
    let told: std::cell::Ref<'_, Vec<String>> = told.borrow();
    assert_eq!(told.len(), 4);
    for line in told.iter() {
        assert!(
            line.contains(r#"Some("app")"#) && !line.contains("s3cret"),
            "{line}"
        );
    }
}

#[test]
fn a_report_tells_both_directions() {
    let told = Rc::default();
    let watch = || Told(Rc::clone(&told));
    let peer = Peer::plaintext(
        "192.0.2.1:4711".parse().unwrap(),
        "192.0.2.2:80".parse().unwrap(),
    );
    let begin = |direction, uri: &str, exchange| {
        let request = Request::get(uri).header("host", "patients:8443");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let (body, now) = (ByteCount::default(), Instant::now());
        Record::new(direction, &head, exchange, body, now, watch()).with_target(&head)
    };
    let exchange = Exchange::default();
    exchange.set_peer(peer.clone());
    exchange.set_target("/patients/7?token=x".parse().unwrap());
    let mut inbound = begin(Direction::Inbound, "/7?token=x", Some(exchange.clone()));
    let reply = LocalReply::new(StatusCode::FORBIDDEN, "no", "why");
    inbound.refused(&reply.flags(ResponseFlags::RATE_LIMITED));
    assert_eq!(exchange.details().unwrap().as_ref(), "why");
    drop(inbound.answer(Response::new(Full::<Bytes>::default())));

    let uri = "http://charts.default/charts/1?token=x";
    let outbound = begin(Direction::Outbound, uri, Some(exchange));
    let mut answer = Response::new(Full::<Bytes>::default());
    answer.extensions_mut().insert(peer);
    drop(outbound.answer(answer));

    let flags = ResponseFlags::UPSTREAM_TIMEOUT;
    begin(Direction::Outbound, uri, None).failed(StatusCode::GATEWAY_TIMEOUT, flags);
    assert_eq!(
        *told.borrow(),
        [
            r#"Inbound HTTP/1.1 GET Some("patients:8443") Some("/patients/7") Some(200) Some("192.0.2.1:4711") RL"#,
            r#"Outbound HTTP/1.1 GET Some("charts.default") Some("/charts/1") Some(200) Some("192.0.2.1:4711") -"#,
            r#"Outbound HTTP/1.1 GET Some("charts.default") Some("/charts/1") Some(504) None UT"#,
        ]
    );
}

#[test]
fn the_record_of_nothing_reports_nothing() {
    let mut nothing = Record::<Notes>::default();
    assert!(nothing.watch().is_none());
    assert_eq!(nothing.within(|| 7), 7);
    nothing.failed(StatusCode::BAD_GATEWAY, ResponseFlags::none());
    nothing.end(End {
        kind: EndKind::Complete,
        ..End::failed()
    });
}
