//! What traces and access logs hold once requests have ended.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_mesh::access_log::{AccessLog, AccessLogLayer, AccessLogs, LineSink, Sink};
use tower_mesh::message::CountingBody;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};

struct Nothing;

impl LineSink for Nothing {
    fn take(&self, line: &[u8]) -> bool {
        line.ends_with(b"\n")
    }
}

#[derive(Debug)]
struct Dropped;

impl SpanSink for Dropped {
    fn export(&self, span: FinishedSpan) {
        drop(span);
    }
}

/// Paths and hosts come from outside: of many of them nothing stays, recorded or not, so that of a
/// million nothing does.
#[test]
fn distinct_paths_and_hosts_leave_nothing_behind() {
    const REQUESTS: u32 = 100_000;
    /// Of a thousand requests, so many are recorded.
    const RECORDED: u32 = 20;
    let propagation = Propagation::new().export_to(Dropped);
    let logs = AccessLogs::server([AccessLog::text().to(Sink::custom(Nothing))]);
    let client = propagation.client_layer();
    let client = client.layer(service_fn(|_: Request<String>| {
        ready(Ok::<_, Infallible>(Response::new(String::new())))
    }));
    let answers = service_fn(move |request: Request<CountingBody<String>>| {
        let mut client = client.clone();
        let call = Request::get(request.uri().clone()).body(String::new());
        client.call(call.unwrap())
    });
    let mut service = AccessLogLayer::new(logs).layer(propagation.server_layer().layer(answers));
    let mut ask = |number: u32| {
        let flags = u32::from(number % 1_000 < RECORDED);
        let request = Request::get(format!("http://h{number}.example/{number}?{number}"))
            .header("host", format!("h{number}.example"))
            .header("user-agent", number)
            .header("x-request-id", number)
            .header(
                "traceparent",
                format!("00-{number:032x}-{number:016x}-{flags:02x}"),
            )
            .body(String::new());
        let answer = pin!(service.call(request.unwrap()));
        let answer = answer.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(answer, Poll::Ready(Ok(_))));
    };
    // What is made once has been made.
    (1..5_000).for_each(&mut ask);
    let counted = measure(|| {
        (0..REQUESTS)
            .map(|number| 5_000 + number)
            .for_each(&mut ask)
    });
    assert_eq!(counted.bytes_current, 0);
    assert_eq!(counted.count_current, 0);
    // Nor was there ever more than one request's.
    assert!(counted.bytes_max < 64 * 1024, "{}", counted.bytes_max);
}
