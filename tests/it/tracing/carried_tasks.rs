//! The request's context in tasks that a handler spawns, in threads and through channels.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor};
use tokio::runtime::Handle;
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tower_mesh::Workload;
use tower_mesh::context::{self, TraceId};
use tower_mesh::propagation::carry::{InRequest, InRequestExt, in_request};
use tower_mesh::propagation::{OpenTelemetry, Propagation};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

use super::support::{Sent, call, child_of_this, in_a_request};

/// What a worker that was there before any request gets through a channel.
struct Job {
    propagation: Propagation,
    answer: oneshot::Sender<Sent>,
}

fn worker() -> mpsc::Sender<InRequest<Job>> {
    let (sender, mut jobs) = mpsc::channel::<InRequest<Job>>(8);
    tokio::spawn(async move {
        while let Some(job) = jobs.recv().await {
            assert!(context::current().is_none());
            // Each in a task of its own, so that many are under way at once.
            tokio::spawn(job.map(async |job| {
                yield_now().await;
                let _ = job.answer.send(call(&job.propagation).await);
            }));
        }
    });
    sender
}

async fn ask(jobs: &mpsc::Sender<InRequest<Job>>, propagation: Propagation) -> Sent {
    let (answer, told) = oneshot::channel();
    let job = Job {
        propagation,
        answer,
    };
    jobs.send(in_request(job)).await.ok().unwrap();
    told.await.unwrap()
}

/// The trace of the current request, or none.
fn trace() -> Option<TraceId> {
    context::current_trace().map(|trace| trace.trace_id)
}

fn number(trace: u128) -> Option<TraceId> {
    TraceId::from_bytes(trace.to_be_bytes())
}

type Work = Pin<Box<dyn Future<Output = Sent> + Send>>;

#[tokio::test]
async fn calls_of_spawned_work_are_children_of_the_request() {
    let propagation = Propagation::new();
    let jobs = worker();
    let made = propagation.clone();
    let call = move || -> Work {
        let propagation = made.clone();
        Box::pin(async move {
            yield_now().await;
            call(&propagation).await
        })
    };
    in_a_request(&propagation.clone(), 1, async move {
        let expected = child_of_this();

        let unwrapped = tokio::spawn(call()).await.unwrap();
        assert_ne!(unwrapped.0, expected.0, "nothing is carried by itself");

        let spawned = tokio::spawn(call().in_request()).await.unwrap();
        assert_eq!(spawned, expected, "spawn");

        let mut set = JoinSet::new();
        for _ in 0..3 {
            set.spawn(call().in_request());
        }
        let all = set.join_all().await;
        assert_eq!(all, vec![expected.clone(); 3], "JoinSet");

        let runtime = Handle::current();
        let work = call.clone();
        let blocking = in_request(move || runtime.block_on(work())).into_fn();
        let blocking = spawn_blocking(blocking).await.unwrap();
        assert_eq!(blocking, expected, "spawn_blocking");

        let thread = std::thread::spawn(in_request(trace).into_fn());
        assert_eq!(thread.join().unwrap(), number(1), "a thread");

        let sent = ask(&jobs, propagation.clone()).await;
        assert_eq!(sent, expected, "a channel");

        let message = in_request(7);
        let opened = tokio::spawn(async { message.scope(|seven| (seven, trace())) });
        assert_eq!(opened.await.unwrap(), (7, number(1)), "a message");

        // A broadcast hands out clones.
        let message = in_request("all").in_request();
        for message in [message.clone(), message] {
            let opened = tokio::spawn(async { message.scope(|inner| inner.scope(|_| trace())) });
            assert_eq!(opened.await.unwrap(), number(1));
        }
    })
    .await;
    assert_eq!(trace(), None);
}

/// Every request waits for all others, so that all are under way when their work runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_at_once_never_mix() {
    const REQUESTS: u128 = 64;
    let propagation = Propagation::new();
    let jobs = worker();
    let barrier = Arc::new(Barrier::new(REQUESTS as usize));
    let mut requests = JoinSet::new();
    for id in 1..=REQUESTS {
        let (propagation, jobs) = (propagation.clone(), jobs.clone());
        let barrier = Arc::clone(&barrier);
        requests.spawn(async move {
            let made = propagation.clone();
            let handler = async move {
                let expected = child_of_this();
                barrier.wait().await;
                let mut work = JoinSet::new();
                for _ in 0..4 {
                    let propagation = made.clone();
                    work.spawn(
                        async move {
                            for _ in 0..3 {
                                yield_now().await;
                                assert_eq!(trace(), number(id));
                            }
                            call(&propagation).await
                        }
                        .in_request(),
                    );
                    work.spawn(async {
                        yield_now().await;
                        assert_eq!(trace(), None);
                        (String::new(), None)
                    });
                    let (jobs, propagation) = (jobs.clone(), made.clone());
                    work.spawn(async move { ask(&jobs, propagation).await }.in_request());
                }
                let sent = work.join_all().await;
                let carried: Vec<_> = sent.iter().filter(|sent| sent.1.is_some()).collect();
                assert_eq!(carried, vec![&expected; 8]);
            };
            in_a_request(&propagation, id, handler).await;
        });
    }
    requests.join_all().await;
}

#[tokio::test]
async fn work_that_outlasts_its_request_still_belongs_to_its_trace() {
    let propagation = Propagation::new();
    let made = propagation.clone();
    let (left, expected) = in_a_request(&propagation, 7, async move {
        let work = async move {
            yield_now().await;
            call(&made).await
        };
        (work.in_request(), child_of_this())
    })
    .await;
    assert_eq!(trace(), None);
    assert_eq!(tokio::spawn(left).await.unwrap(), expected);
    assert_eq!(expected.0, format!("{:032x}", 7));
}

#[tokio::test]
async fn work_runs_in_the_request_that_it_was_wrapped_in_and_in_no_other() {
    let propagation = Propagation::new();
    let outside = async { trace() }.in_request();
    let also_outside = in_request(trace).into_fn();
    assert_eq!(tokio::spawn(outside).await.unwrap(), None);
    assert_eq!(also_outside(), None);

    let of_none = in_request(trace);
    let (of_one, future_of_one) = in_a_request(&propagation, 1, async {
        let future = async {
            yield_now().await;
            trace()
        };
        (in_request(trace), future.in_request())
    })
    .await;
    in_a_request(&propagation, 2, async {
        assert_eq!(of_one.scope(|ask| ask()), number(1));
        assert_eq!(future_of_one.await, number(1));
        assert_eq!(trace(), number(2), "it was left again");
        // Wrapped outside of any request, work is where it runs.
        assert_eq!(of_none.scope(|ask| ask()), number(2));
    })
    .await;
}

/// Tells in which trace it was dropped.
struct Dropped(Sender<Option<TraceId>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(trace());
    }
}

#[tokio::test]
async fn work_panics_and_is_dropped_in_its_request() {
    let propagation = Propagation::new();
    let (sender, dropped) = channel();
    let held = || Dropped(sender.clone());
    let kept = [held(), held(), held(), held(), held()];
    let (closure, unused, message, future, unpolled) = in_a_request(&propagation, 3, async {
        let [one, two, three, four, five] = kept;
        let closure = in_request(move || {
            let _held = one;
            panic!("on purpose");
        });
        let unused = in_request(move || drop(two)).into_fn();
        let future = async move {
            let _held = four;
            yield_now().await;
            panic!("on purpose");
        };
        let unpolled = async move { drop(five) };
        (
            closure.into_fn(),
            unused,
            in_request(three),
            future.in_request(),
            unpolled.in_request(),
        )
    })
    .await;
    let next = || dropped.try_recv().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(closure)).is_err());
    assert_eq!((next(), trace()), (number(3), None));
    drop(unused);
    assert_eq!((next(), trace()), (number(3), None));
    drop(message);
    assert_eq!((next(), trace()), (number(3), None));
    assert!(tokio::spawn(future).await.is_err());
    assert_eq!((next(), trace()), (number(3), None));
    in_a_request(&propagation, 4, async {
        drop(unpolled);
        assert_eq!((next(), trace()), (number(3), number(4)));
    })
    .await;
    assert!(dropped.try_recv().is_err());
}

/// Spans of the application's `tracing`, in a spawned task, under the span that spawned it.
#[tokio::test]
async fn spans_of_the_application_nest_in_spawned_work() {
    let exporter = InMemorySpanExporter::default();
    let resource = OpenTelemetry::resource(&Workload::new("default", "patients"));
    let spans = OpenTelemetry::new(SimpleSpanProcessor::new(exporter.clone()), &resource);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(spans.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let propagation = Propagation::new().sample_percent(100.0).export_to(spans);
    let made = propagation.clone();
    in_a_request(&propagation, 5, async move {
        let spawned = async {
            let work = async move { call(&made).instrument(info_span!("in the task")).await };
            tokio::spawn(work.in_request()).await.unwrap()
        };
        spawned.instrument(info_span!("in the handler")).await;
    })
    .await;
    let spans = exporter.get_finished_spans().unwrap();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let chain = [
        "egress charts.default",
        "in the task",
        "in the handler",
        "ingress",
    ];
    for pair in chain.windows(2) {
        let [child, parent] = [find(pair[0]), find(pair[1])];
        assert_eq!(
            child.parent_span_id,
            parent.span_context.span_id(),
            "{pair:?}"
        );
    }
    let trace = number(5).unwrap().to_string();
    let is_of_it = |span: &opentelemetry_sdk::trace::SpanData| {
        span.span_context.trace_id().to_string() == trace
    };
    assert!(spans.len() == 4 && spans.iter().all(is_of_it), "{spans:#?}");
}
