//! Spans as Zipkin gets them.

use std::time::Duration;

use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::propagation::{Format, OpenTelemetry, Propagation, Zipkin};

use super::collector::{Collector, request};

const T: &str = "0af7651916cd43dd8448eb211c80319c";
const S: &str = "b7ad6b7169203331";
const P: &str = "00f067aa0ba902b7";

const SOON: Duration = Duration::from_secs(20);

/// The server's and the client's span of one request.
async fn spans(
    propagation: impl FnOnce(Propagation) -> Propagation,
    headers: &[(&str, &str)],
) -> (Value, Value) {
    let mut collector = Collector::start().await;
    let zipkin = Zipkin::to(&collector.url()).unwrap();
    let workload = Workload::new("clinic", "desk").label("app", "patients");
    let sending = propagation(Propagation::new().sample_percent(100.0))
        .export_to(zipkin.clone())
        .workload(&workload);
    request(&sending, headers).await;
    assert!(zipkin.flush(SOON).await);
    assert_eq!(zipkin.counts().exported, 2);
    let spans = collector.spans();
    let of = |kind: &str| spans.iter().find(|span| span["kind"] == kind).unwrap();
    (of("SERVER").clone(), of("CLIENT").clone())
}

#[tokio::test]
async fn a_batch_is_posted_to_the_api_and_is_not_traced_itself() {
    for path in ["", "/", "/api/v2/spans"] {
        let mut collector = Collector::start().await;
        let zipkin = Zipkin::to(&format!("{}{path}", collector.url())).unwrap();
        let propagation = Propagation::new().sample_percent(100.0);
        request(&propagation.export_to(zipkin.clone()), &[]).await;
        assert!(zipkin.flush(SOON).await);
        let posted = collector.take();
        assert_eq!(posted.len(), 1, "one batch");
        assert_eq!(posted[0].method(), "POST");
        assert_eq!(posted[0].uri(), "/api/v2/spans");
        assert_eq!(posted[0].headers()["content-type"], "application/json");
        assert_eq!(posted[0].headers()["b3"], "0");
        assert_eq!(posted[0].headers()["host"], collector.address.to_string());
    }
}

#[tokio::test]
async fn spans_have_ids_kinds_tags_and_annotations() {
    let b3 = format!("{T}-{S}-1-{P}");
    let (server, client) = spans(|it| it, &[("b3", &b3)]).await;
    assert_eq!(server["traceId"], T);
    assert_eq!(server["parentId"], S);
    assert_ne!(server["id"], S);
    assert_eq!(client["traceId"], T);
    assert_eq!(client["parentId"], server["id"]);
    assert_eq!(server["name"], "patients.default");
    assert_eq!(client["name"], "charts.default");
    for (span, annotation) in [(&server, "ss"), (&client, "cr")] {
        let (start, duration) = (&span["timestamp"], &span["duration"]);
        let (start, duration) = (start.as_u64().unwrap(), duration.as_u64().unwrap());
        assert!(start > 1_700_000_000_000_000, "microseconds: {start}");
        assert!(duration >= 1);
        let end = span["annotations"][0]["timestamp"].as_u64().unwrap();
        assert!(end.abs_diff(start + duration) <= 1, "{span}");
        assert_eq!(span["annotations"][0]["value"], annotation);
        assert_eq!(span["annotations"].as_array().unwrap().len(), 1);
        assert_eq!(
            span["localEndpoint"],
            json!({"serviceName": "patients.clinic"})
        );
        let tags = span["tags"].as_object().unwrap();
        assert!(tags.values().all(Value::is_string), "{tags:?}");
        assert_eq!(tags["http.status_code"], "200");
        assert_eq!(tags["istio.canonical_service"], "patients");
        for absent in ["debug", "shared"] {
            assert_eq!(span.get(absent), None, "{span}");
        }
    }
}

#[tokio::test]
async fn numbers_of_the_conventions_are_texts() {
    let (server, _) = spans(Propagation::semantic_conventions, &[]).await;
    assert_eq!(server["tags"]["http.response.status_code"], "200");
    assert_eq!(server.get("parentId"), None);
}

#[tokio::test]
async fn debug_and_short_ids_are_kept() {
    let short = "463ac35c9f6413ad";
    let headers = [
        ("x-b3-traceid", short),
        ("x-b3-spanid", S),
        ("x-b3-flags", "1"),
        ("x-b3-sampled", "0"),
    ];
    let (server, client) = spans(|it| it, &headers).await;
    for span in [server, client] {
        assert_eq!(span["traceId"], short);
        assert_eq!(span["debug"], true);
    }
}

#[tokio::test]
async fn b3_comes_before_w3c_unless_the_application_has_chosen() {
    let b3 = format!("463ac35c9f6413ad463ac35c9f6413ad-{S}-1");
    let w3c = format!("00-{T}-{S}-01");
    let headers = [("b3", &*b3), ("traceparent", &*w3c)];
    let (server, _) = spans(|it| it, &headers).await;
    assert_eq!(server["traceId"], "463ac35c9f6413ad463ac35c9f6413ad");
    let (server, _) = spans(|it| it.formats([Format::W3c, Format::B3]), &headers).await;
    assert_eq!(server["traceId"], T);
}

#[tokio::test]
async fn a_shared_span_has_the_ids_that_came() {
    let single = format!("{T}-{S}-1-{P}");
    let multi = [
        ("x-b3-traceid", T),
        ("x-b3-spanid", S),
        ("x-b3-parentspanid", P),
        ("x-b3-sampled", "1"),
    ];
    for headers in [&[("b3", &*single)][..], &multi] {
        let (server, client) = spans(Propagation::share_spans, headers).await;
        assert_eq!((&server["traceId"], &server["id"]), (&json!(T), &json!(S)));
        assert_eq!(server["parentId"], P);
        assert_eq!(server["shared"], true);
        assert_eq!(client["parentId"], S);
        assert_ne!(client["id"], S);
        assert_eq!(client.get("shared"), None);
    }
    let root = format!("{T}-{S}-1");
    let (server, _) = spans(Propagation::share_spans, &[("b3", &root)]).await;
    assert_eq!(server["id"], S);
    assert_eq!(server.get("parentId"), None);
    assert_eq!(server["shared"], true);
}

#[tokio::test]
async fn only_b3_shares_spans_and_only_with_zipkin() {
    let w3c = format!("00-{T}-{S}-01");
    let (server, _) = spans(Propagation::share_spans, &[("traceparent", &w3c)]).await;
    assert_eq!(server["parentId"], S);
    assert_eq!(server.get("shared"), None);
    let (server, _) = spans(Propagation::share_spans, &[]).await;
    assert_eq!(server.get("shared"), None);

    let exporter = opentelemetry_sdk::trace::InMemorySpanExporter::default();
    let processor = opentelemetry_sdk::trace::SimpleSpanProcessor::new(exporter.clone());
    let resource = OpenTelemetry::resource(&Workload::new("clinic", "desk"));
    let propagation = Propagation::new()
        .share_spans()
        .export_to(OpenTelemetry::new(processor, &resource));
    request(&propagation, &[("b3", &format!("{T}-{S}-1-{P}"))]).await;
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 2);
    assert!(
        spans
            .iter()
            .all(|span| span.span_context.span_id().to_string() != S)
    );
}

/// They come by the application's tracer provider, and belong to the same trace.
#[tokio::test]
async fn the_applications_own_spans_go_along() {
    use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer, TracerProvider};

    let mut collector = Collector::start().await;
    let zipkin = Zipkin::to(&collector.url()).unwrap();
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_span_processor(zipkin.clone())
        .build();
    let tracer = provider.tracer("app");
    let mut span = tracer
        .span_builder("read chart")
        .with_kind(SpanKind::Internal)
        .start(&tracer);
    span.set_attribute(opentelemetry::KeyValue::new("charts", 3));
    span.add_event("cache miss", Vec::new());
    span.set_status(Status::error("no chart"));
    let id = span.span_context().span_id().to_string();
    span.end();
    provider.force_flush().unwrap();
    assert!(zipkin.flush(SOON).await);
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0]["id"], id);
    assert_eq!(spans[0]["name"], "read chart");
    assert_eq!(spans[0].get("kind"), None);
    assert_eq!(
        spans[0]["tags"],
        json!({"charts": "3", "error": "no chart"})
    );
    assert_eq!(spans[0]["annotations"][0]["value"], "cache miss");
    assert_eq!(spans[0]["localEndpoint"]["serviceName"], "unknown_service");
}

#[test]
fn a_url_that_cannot_be_used_is_refused() {
    for url in [
        "",
        "zipkin:9411",
        "/api/v2/spans",
        "https://zipkin",
        "ftp://zipkin",
        "http://user:password@zipkin",
    ] {
        let error = Zipkin::to(url).unwrap_err().to_string();
        assert!(
            error.starts_with("not a collector's URL: "),
            "{url}: {error}"
        );
        assert!(!error.contains("password@"), "{error}");
    }
}
