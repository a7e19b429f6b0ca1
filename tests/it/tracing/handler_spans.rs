//! Tags, events and spans that a handler adds.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use http::Request;
use opentelemetry::Value;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor};
use tokio::task::yield_now;
use tower_mesh::Workload;
use tower_mesh::context::Exchange;
use tower_mesh::message::{Direction, Record};
use tower_mesh::propagation::carry::InRequestExt;
use tower_mesh::propagation::{
    self, ChildSpan, FinishedSpan, OpenTelemetry, Propagation, Span, SpanKind, TagValue,
};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

use super::support::{call, child_of, child_of_this, in_a_request, named, recording};

const SERVER: &str = "ingress";

fn events(span: &FinishedSpan) -> Vec<&str> {
    span.events.iter().map(|event| &*event.name).collect()
}

#[tokio::test]
async fn what_a_handler_adds_is_on_its_span() {
    let (istio, spans) = recording();
    for (propagation, server) in [
        (istio.clone(), SERVER),
        (istio.semantic_conventions(), "GET"),
    ] {
        in_a_request(&propagation, 1, async {
            propagation::tag("patient.count", 3);
            propagation::event("cache miss");
            yield_now().await;
            propagation::event(String::from("cache filled"));
            propagation::tag("ward", "west");
            propagation::tag("ward", "east");
            propagation::tag("is.new", true);
            propagation::tag("share", 0.5);
            propagation::tag("beyond", u64::MAX);
            propagation::tag("http.method", "forged");
        })
        .await;
        let all: Vec<_> = spans.try_iter().collect();
        let span = named(&all, server);
        assert_eq!(all.len(), 1);
        let count = span.tags.iter().find(|(name, _)| name == "patient.count");
        assert_eq!(count.unwrap().1, TagValue::Number(3, "3".to_owned()));
        for (name, value) in [
            ("ward", "east"),
            ("is.new", "true"),
            ("share", "0.5"),
            ("beyond", "18446744073709551615"),
            ("http.method", "GET"),
        ] {
            assert_eq!(span.tag(name), Some(value));
            let same = span.tags.iter().filter(|(tag, _)| tag == name);
            assert_eq!(same.count(), 1, "{name}");
        }
        assert_eq!(events(span), ["cache miss", "cache filled"]);
        let times: Vec<_> = span.events.iter().map(|event| event.time).collect();
        assert!(span.start <= times[0] && times[0] <= times[1] && times[1] <= span.end);
        assert_eq!((span.dropped_tags, span.dropped_events), (0, 0));
        assert!(!span.is_error && span.tag("error").is_none());
    }
}

#[tokio::test]
async fn calls_inside_a_span_are_its_children() {
    let (propagation, spans) = recording();
    let made = propagation.clone();
    in_a_request(&propagation, 1, async move {
        let of_server = child_of_this();
        let id = || propagation::current_span().unwrap();
        let server = id();
        let chart = async {
            let chart = id();
            assert_eq!(chart.trace().parent_span_id, Some(server.trace().span_id));
            assert_eq!(call(&made).await, child_of(chart.trace()));
            let page = propagation::span("read page").in_scope(|| {
                propagation::tag("page", 2);
                id()
            });
            assert_eq!(page.trace().parent_span_id, Some(chart.trace().span_id));
            // Work that is spawned here is inside, too.
            let work = made.clone();
            let spawned = async move { call(&work).await }.in_request();
            assert_eq!(
                tokio::spawn(spawned).await.unwrap(),
                child_of(chart.trace())
            );
            propagation::event("read");
            chart
        };
        let bill = async {
            for _ in 0..3 {
                yield_now().await;
                propagation::event("line");
            }
            assert_eq!(call(&made).await, child_of(id().trace()));
            id()
        };
        // Two at once in one task.
        let chart = propagation::span("read chart")
            .with_tag("chart.id", 7)
            .within(chart);
        let bill = propagation::span("read bill").within(bill);
        let (chart, bill) = tokio::join!(chart, bill);
        assert_ne!(chart.trace().span_id, bill.trace().span_id);
        assert_eq!(call(&made).await, of_server);
        // A handle opens a child of its own span, wherever it is.
        drop(server.child("by handle"));
        // In a task of its own, with nothing carried but the span.
        let (work, span) = (made.clone(), propagation::span("spawned"));
        let handle = span.handle().cloned().unwrap();
        let sent = tokio::spawn(span.within(async move { call(&work).await }));
        assert_eq!(sent.await.unwrap(), child_of(handle.trace()));
    })
    .await;
    let spans: Vec<_> = spans.try_iter().collect();
    let server = named(&spans, SERVER);
    for (name, parent) in [
        ("read chart", SERVER),
        ("read page", "read chart"),
        ("read bill", SERVER),
        ("by handle", SERVER),
        ("spawned", SERVER),
    ] {
        let (span, parent) = (named(&spans, name), named(&spans, parent));
        assert_eq!(span.kind, SpanKind::Internal);
        assert_eq!(span.trace.trace_id, server.trace.trace_id);
        assert_eq!(
            span.trace.parent_span_id,
            Some(parent.trace.span_id),
            "{name}"
        );
        assert!(!span.parent_is_remote && !span.is_error && span.link.is_none());
        assert!(parent.start <= span.start && span.start <= span.end);
        assert!(span.end <= parent.end, "{name}");
    }
    let chart = named(&spans, "read chart");
    assert_eq!(
        (chart.tag("chart.id"), events(chart)),
        (Some("7"), vec!["read"])
    );
    assert_eq!(named(&spans, "read page").tag("page"), Some("2"));
    assert_eq!(events(named(&spans, "read bill")), ["line"; 3]);
    assert_eq!((events(server), server.tag("page")), (vec![], None));
}

#[tokio::test]
async fn nothing_is_added_where_nothing_is_recorded() {
    async fn add(propagation: &Propagation) {
        assert!(propagation::current_span().is_none());
        propagation::tag("patient.count", 3);
        propagation::event("cache miss");
        let span: ChildSpan = propagation::span("read chart").with_tag("chart.id", 7);
        assert!(span.handle().is_none());
        let sent = span.within(call(propagation)).await;
        if tower_mesh::context::current().is_some() {
            assert_eq!(sent, child_of_this());
        }
        assert_eq!(propagation::span("read page").in_scope(|| 7), 7);
    }
    let (recorded, spans) = recording();
    let without_sink = Propagation::new().sample_percent(100.0);
    add(&recorded).await;
    // The call was the root of a trace, and nothing else was recorded.
    assert_eq!(
        spans.try_iter().map(|span| span.kind).collect::<Vec<_>>(),
        [SpanKind::Client]
    );
    in_a_request(&without_sink, 1, add(&without_sink)).await;

    // A request that is not recorded, inside of one that is, in one task.
    let inner = without_sink.clone();
    in_a_request(&recorded, 2, async move {
        propagation::tag("outer", 1);
        in_a_request(&inner, 3, add(&inner)).await;
        propagation::event("still here");
    })
    .await;
    let all: Vec<_> = spans.try_iter().collect();
    let server = named(&all, SERVER);
    assert_eq!(all.len(), 1);
    assert_eq!(
        (server.tag("outer"), server.tag("patient.count")),
        (Some("1"), None)
    );
    assert_eq!(events(server), ["still here"]);
}

#[tokio::test]
async fn what_a_span_keeps_is_bounded() {
    let (propagation, spans) = recording();
    in_a_request(&propagation, 1, async {
        let long = "x".repeat(10_000);
        let add = |span: &Span| {
            span.tag(long.clone(), long.as_str());
            span.event(long.clone());
            for number in 1..200 {
                span.tag(format!("tag {number}"), number);
                span.event(format!("event {number}"));
            }
        };
        add(&propagation::current_span().unwrap());
        propagation::span(&long).in_scope(|| add(&propagation::current_span().unwrap()));
    })
    .await;
    let all: Vec<_> = spans.try_iter().collect();
    assert_eq!(all.len(), 2);
    for span in all {
        let (name, value) = span
            .tags
            .iter()
            .find(|(name, _)| name.starts_with('x'))
            .unwrap();
        assert_eq!((name.len(), value.as_str().len()), (4096, 4096));
        assert_eq!(span.tag("tag 127"), Some("127"));
        assert_eq!(span.tag("tag 128"), None);
        assert_eq!((span.events.len(), span.events[0].name.len()), (128, 4096));
        assert_eq!((span.dropped_tags, span.dropped_events), (72, 72));
        assert!(span.name.len() <= 4096);
    }
}

#[tokio::test]
async fn a_panic_ends_its_span_as_an_error() {
    let (istio, spans) = recording();
    for (propagation, kind) in [
        (istio.clone(), None),
        (istio.semantic_conventions(), Some("panic")),
    ] {
        in_a_request(&propagation, 1, async {
            let work = || propagation::span("code").in_scope(|| panic!("on purpose"));
            assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
            let future = async {
                propagation::event("before");
                yield_now().await;
                panic!("on purpose")
            };
            let future = propagation::span("future").within(future);
            assert!(tokio::spawn(future).await.is_err());
            propagation::span("told").in_scope(|| {
                propagation::current_span().unwrap().fail();
            });
            // One that is given up is no error.
            let mut given_up = Box::pin(propagation::span("given up").within(pending::<()>()));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(given_up.as_mut().poll(&mut cx).is_pending());
            drop(given_up);
        })
        .await;
        let all: Vec<_> = spans.try_iter().collect();
        assert_eq!(all.len(), 5, "{all:#?}");
        for name in ["code", "future", "told"] {
            let span = named(&all, name);
            assert!(span.is_error, "{name}");
            assert_eq!(span.tag("error"), Some("true"));
            let kind = kind.map(|kind| if name == "told" { "_OTHER" } else { kind });
            assert_eq!(span.tag("error.type"), kind);
        }
        assert_eq!(events(named(&all, "future")), ["before"]);
        let rest = all.iter().filter(|span| !span.is_error);
        assert_eq!(rest.count(), 2);
    }
}

#[tokio::test]
async fn a_handler_can_fail_the_span_of_its_request() {
    let (istio, spans) = recording();
    for (propagation, kind) in [
        (istio.clone(), None),
        (istio.semantic_conventions(), Some("_OTHER")),
    ] {
        in_a_request(&propagation, 1, async {
            propagation::current_span().unwrap().fail();
        })
        .await;
        let span = spans.try_recv().unwrap();
        assert!(span.is_error);
        assert_eq!(
            (span.tag("error"), span.tag("error.type")),
            (Some("true"), kind)
        );
    }
}

/// The request came in before the clock was set back by a day.
#[test]
fn a_clock_that_steps_back_makes_no_negative_time() {
    let (propagation, spans) = recording();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let (mut head, ()) = Request::get("/").body(()).unwrap().into_parts();
    let exchange = Exchange::from_request(&mut head);
    let span = propagation.begin(&mut head, &exchange, || tomorrow);
    let (now, size) = (Instant::now(), tower_mesh::message::ByteCount::default());
    let mut record = Record::new(Direction::Inbound, &head, Some(exchange), size, now, span);
    tower_mesh::message::OnEnd::within(&mut record, || {
        propagation::event("here");
        propagation::span("read chart").in_scope(|| propagation::event("there"));
    });
    drop(record);
    let [chart, server]: [FinishedSpan; 2] =
        spans.try_iter().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(server.start, tomorrow);
    let times = [
        server.start,
        server.events[0].time,
        chart.start,
        chart.events[0].time,
        chart.end,
        server.end,
    ];
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn what_comes_after_the_end_is_lost_and_children_are_not() {
    let (propagation, spans) = recording();
    let made = propagation.clone();
    let (handle, late) = in_a_request(&propagation, 1, async {
        let late = async move {
            propagation::tag("late", 1);
            propagation::span("late").within(call(&made)).await
        };
        (propagation::current_span().unwrap(), late.in_request())
    })
    .await;
    let server = spans.try_recv().unwrap();
    handle.event("late");
    let sent = late.await;
    let all: Vec<_> = spans.try_iter().collect();
    let child = named(&all, "late");
    assert_eq!(sent, child_of(&child.trace));
    assert_eq!(child.trace.parent_span_id, Some(server.trace.span_id));
    assert_eq!(
        (all.len(), server.tag("late"), events(&server)),
        (2, None, vec![])
    );
}

/// By OpenTelemetry's processor, and with spans of `tracing` above and below.
#[tokio::test]
async fn spans_of_tracing_nest_with_those_by_hand() {
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
        let inner = async {
            propagation::tag("patient.count", 3);
            propagation::event("cache miss");
            call(&made).instrument(info_span!("inner tracing")).await
        };
        let by_hand = async { propagation::span("by hand").within(inner).await };
        by_hand.instrument(info_span!("outer tracing")).await;
    })
    .await;
    let spans = exporter.get_finished_spans().unwrap();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let chain = [
        "egress charts.default",
        "inner tracing",
        "by hand",
        "outer tracing",
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
    let by_hand = find("by hand");
    assert_eq!(by_hand.span_kind, opentelemetry::trace::SpanKind::Internal);
    let count = by_hand
        .attributes
        .iter()
        .find(|tag| tag.key.as_str() == "patient.count");
    assert_eq!(count.unwrap().value, Value::I64(3));
    assert_eq!(by_hand.events.events[0].name, "cache miss");
    assert_eq!(by_hand.instrumentation_scope.name(), "tower-mesh");
}
