//! What an application does in a drop belongs to the request whose future or body is dropped.

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{
    InMemorySpanExporterBuilder, SdkTracerProvider, SimpleSpanProcessor,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context;
use tower_mesh::propagation::{OpenTelemetry, Propagation};
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

/// Opens a span of the application when it is dropped.
struct CleansUp;

impl Drop for CleansUp {
    fn drop(&mut self) {
        drop(info_span!("clean up").entered());
    }
}

/// A body that never comes to its end.
struct Endless(CleansUp);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::get("http://patients.default/7");
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn spans_that_are_opened_in_a_drop_are_children_of_the_request() {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let resource = OpenTelemetry::resource(&Workload::new("default", "patients"));
    let spans = OpenTelemetry::new(SimpleSpanProcessor::new(exporter.clone()), &resource);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(spans.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let propagation = Propagation::new().sample_percent(100.0).export_to(spans);

    // A handler that is given up.
    let service = propagation
        .server_layer()
        .layer(service_fn(|_: Request<Empty<Bytes>>| async {
            let _held = CleansUp;
            std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
        }));
    let mut call = Box::pin(service.oneshot(request()));
    let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    drop(call);
    // A body that is left.
    let service = propagation
        .server_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Endless(CleansUp)))
        }));
    drop(service.oneshot(request()).await.unwrap());

    let spans = exporter.get_finished_spans().unwrap();
    let named = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    let parents = named("clean up").map(|span| {
        let trace = span.span_context.trace_id();
        (trace, span.parent_span_id)
    });
    let servers = named("ingress").map(|span| {
        let context = &span.span_context;
        (context.trace_id(), context.span_id())
    });
    let (parents, servers): (Vec<_>, Vec<_>) = (parents.collect(), servers.collect());
    assert_eq!(servers.len(), 2, "{spans:#?}");
    assert_eq!(parents, servers);
}

/// A future that waits in a thread-local until its thread ends, when others are gone already.
#[test]
fn a_thread_that_ends_drops_what_it_holds_in_peace() {
    thread_local! {
        static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    }
    struct Tells(std::sync::mpsc::Sender<bool>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(context::current_trace().is_some());
        }
    }
    let (sender, dropped) = std::sync::mpsc::channel();
    for is_first in [true, false] {
        let sender = sender.clone();
        let thread = std::thread::spawn(move || {
            // Thread-locals go in the reverse order of their first use, as it is.
            if is_first {
                HELD.with(|_| ());
            }
            let service = Propagation::new().server_layer().layer(service_fn(
                move |_: Request<Empty<Bytes>>| {
                    let tells = Tells(sender.clone());
                    async move {
                        let _held = tells;
                        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
                    }
                },
            ));
            let mut call = Box::pin(service.oneshot(request()));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut cx).is_pending());
            HELD.with_borrow_mut(|held| held.push(Box::new(call)));
        });
        thread.join().unwrap();
        dropped.recv().unwrap();
    }
}
