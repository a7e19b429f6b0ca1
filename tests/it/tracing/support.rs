//! Requests with a handler, calls that tell what they sent, and spans that were exported.

use std::convert::Infallible;
use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{self, TraceContext};
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};

#[derive(Debug)]
struct Kept(Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        let _ = self.0.send(span);
    }
}

/// Propagation that records everything, and what it recorded.
pub(crate) fn recording() -> (Propagation, Receiver<FinishedSpan>) {
    let (spans, kept) = channel();
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .export_to(Kept(spans));
    (propagation, kept)
}

/// Runs a handler in a request of this trace, to the end of its response.
pub(crate) async fn in_a_request<F: Future>(
    propagation: &Propagation,
    trace: u128,
    handler: F,
) -> F::Output {
    let (sender, receiver) = oneshot::channel();
    let mut handler = Some(async move {
        let _ = sender.send(handler.await);
    });
    let service = propagation
        .server_layer()
        .layer(service_fn(move |_: Request<Empty<Bytes>>| {
            let handler = handler.take().unwrap();
            async {
                handler.await;
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        }));
    let request = Request::get("http://patients.default/7")
        .header(
            "traceparent",
            format!("00-{trace:032x}-b7ad6b7169203331-01"),
        )
        .body(Empty::new())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    receiver.await.unwrap()
}

/// The trace of a call and its parent there, as its headers name them; `None` for a root.
pub(crate) type Sent = (String, Option<String>);

/// Makes a call.
pub(crate) async fn call(propagation: &Propagation) -> Sent {
    let charts =
        propagation
            .client_layer()
            .layer(service_fn(async |call: Request<Empty<Bytes>>| {
                tokio::task::yield_now().await;
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.headers_mut() = call.headers().clone();
                Ok::<_, Infallible>(response)
            }));
    let call = Request::get("http://charts.default/7").body(Empty::new());
    let response = charts.oneshot(call.unwrap()).await.unwrap();
    sent(response.headers())
}

pub(crate) fn sent(headers: &HeaderMap) -> Sent {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    (text("x-b3-traceid").unwrap(), text("x-b3-parentspanid"))
}

/// What a call sends that is a child of the current request.
pub(crate) fn child_of_this() -> Sent {
    child_of(&context::current_trace().unwrap())
}

/// What a call sends that is a child of this span.
pub(crate) fn child_of(trace: &TraceContext) -> Sent {
    (trace.trace_id.to_string(), Some(trace.span_id.to_string()))
}

/// The only span of this name.
pub(crate) fn named<'a>(spans: &'a [FinishedSpan], name: &str) -> &'a FinishedSpan {
    let [span] = spans
        .iter()
        .filter(|span| &*span.name == name)
        .collect::<Vec<_>>()[..]
    else {
        panic!("{name}: {spans:#?}")
    };
    span
}
