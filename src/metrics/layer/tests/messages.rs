//! The messages of gRPC streams, which are reported before a stream ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body::{Body, Frame};

use super::*;

/// A body of so many messages, one a frame, that does not end.
struct Messages(usize);

impl Body for Messages {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Pending;
        };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 5])))))
    }
}

fn stream(messages: usize) -> http::Request<Messages> {
    grpc(from(mtls(WEB))).map(|_| Messages(messages))
}

/// The messages of both directions that are reported so far.
fn reported(registry: &Registry) -> [u64; 2] {
    ["request", "response"].map(|name| {
        let name = format!("istio_{name}_messages_total");
        match samples(registry, &name).as_slice() {
            [] => 0,
            [(labels, count)] => {
                assert_eq!(labels.matches("=\"").count(), 20, "{name}");
                count.parse().unwrap()
            }
            other => panic!("{other:#?}"),
        }
    })
}

/// Case 29 of the telemetry specification: a gRPC stream of twelve seconds.
#[tokio::test]
async fn messages_are_reported_every_five_seconds_and_at_the_end() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let (request, received) = CountingBody::wrap(stream(7));
    let (mut request, mut body) = request.into_parts();
    let mut record = metrics.begin(&mut request, Some(&mtls(WEB)), received, start);
    // Before the head of the response, only the request has messages.
    for (second, shown) in [(1, 0), (4, 0), (5, 3)] {
        body.frame().await.unwrap().unwrap();
        record.progressed(0, after(second));
        assert_eq!(reported(&registry), [shown, 0], "after {second} s");
    }
    record.answered(&mut Response::new(()).into_parts().0);
    for (second, sent, shown) in [(6, 1, [3, 0]), (9, 4, [3, 0]), (10, 5, [6, 5])] {
        body.frame().await.unwrap().unwrap();
        record.progressed(sent, after(second));
        assert_eq!(reported(&registry), shown, "after {second} s");
    }
    assert!(samples(&registry, "istio_requests_total").is_empty());
    body.frame().await.unwrap().unwrap();
    let mut end = End::cancelled();
    end.messages = 12;
    record.finish(end, after(12));
    assert_eq!(reported(&registry), [7, 12]);
    assert!(only_labels(&registry).contains("request_protocol=\"grpc\""));
}

/// The answer to a client stream comes after its last message.
#[test]
fn a_stream_without_an_answer_reports_what_it_has_brought() {
    let registry = Registry::builder()
        .reporting_interval(Duration::ZERO)
        .build()
        .unwrap();
    let layer = MetricsLayer::new(registry.server(&patients()));
    let service = layer.layer(service_fn(
        async |request: http::Request<CountingBody<Messages>>| {
            request.into_body().collect().await?;
            Ok::<_, io::Error>(ok())
        },
    ));
    let mut call = Box::pin(service.oneshot(stream(3)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(reported(&registry), [3, 0]);
    assert!(samples(&registry, "istio_requests_total").is_empty());
    // The end counts no message twice.
    drop(call);
    assert_eq!(reported(&registry), [3, 0]);
    only_labels(&registry);
}
