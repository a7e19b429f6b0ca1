//! Zipkin's JSON, version 2: <https://zipkin.io/zipkin-api/>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::item::Item;
use crate::propagation::span::finished::{FinishedSpan, SpanKind};

/// A list of spans.
pub(super) fn write(items: &[Item], service: &str) -> serde_json::Result<Vec<u8>> {
    let spans: Vec<_> = items
        .iter()
        .filter_map(|item| Span::new(item, service))
        .collect();
    serde_json::to_vec(&spans)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Microseconds since 1970.
    timestamp: u64,
    /// Microseconds, at least one: none means an unknown duration.
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation<'a>>,
    tags: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_false")]
    debug: bool,
    #[serde(skip_serializing_if = "is_false")]
    shared: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

#[derive(Serialize)]
struct Annotation<'a> {
    timestamp: u64,
    value: &'a str,
}

impl<'a> Span<'a> {
    /// `None` for what is no span, which nobody gives to Zipkin.
    #[cfg_attr(
        not(all(feature = "otlp", feature = "access-log")),
        expect(clippy::unnecessary_wraps, reason = "then all are spans")
    )]
    fn new(item: &'a Item, service: &'a str) -> Option<Self> {
        Some(match item {
            Item::Mesh(span) => Self::of_mesh(span, service),
            #[cfg(feature = "opentelemetry")]
            Item::Application(span) => Self::of_application(span, service),
            #[cfg(all(feature = "otlp", feature = "access-log"))]
            Item::Log(_) => return None,
        })
    }

    fn of_mesh(span: &'a FinishedSpan, service: &'a str) -> Self {
        let (kind, end) = if span.kind == SpanKind::Server {
            (Some("SERVER"), Some("ss"))
        } else if span.kind == SpanKind::Client {
            (Some("CLIENT"), Some("cr"))
        } else {
            (None, None)
        };
        let events = span.events.iter().map(|event| Annotation {
            timestamp: micros(event.time),
            value: &event.name,
        });
        let end = end.map(|value| Annotation {
            timestamp: micros(span.end),
            value,
        });
        let trace = &span.trace;
        let trace_id = trace.trace_id.to_string();
        Self {
            trace_id: digits(trace_id, |_| trace.marks.short),
            id: trace.span_id.to_string(),
            parent_id: trace.parent_span_id.map(|id| id.to_string()),
            name: &span.name,
            kind,
            timestamp: micros(span.start),
            duration: between(span.start, span.end),
            local_endpoint: Endpoint {
                service_name: service,
            },
            annotations: events.chain(end).collect(),
            tags: span
                .tags
                .iter()
                .map(|(name, value)| (&**name, Cow::Borrowed(value.as_str())))
                .collect(),
            debug: trace.is_debug(),
            shared: span.shared,
        }
    }

    #[cfg(feature = "opentelemetry")]
    fn of_application(span: &'a opentelemetry_sdk::trace::SpanData, service: &'a str) -> Self {
        use opentelemetry::trace::{self as otel, Status};

        let (start, context) = (span.start_time, &span.span_context);
        let mut tags: BTreeMap<_, _> = span
            .attributes
            .iter()
            .map(|tag| (tag.key.as_str(), tag.value.as_str()))
            .collect();
        if let Status::Error { description } = &span.status {
            // The tag's presence is what counts; its value may tell more.
            let text = if description.is_empty() {
                "true"
            } else {
                description
            };
            tags.insert("error", Cow::Borrowed(text));
        }
        Self {
            // OpenTelemetry does not know how many digits a trace came with.
            trace_id: digits(context.trace_id().to_string(), |high| {
                high.bytes().all(|digit| digit == b'0')
            }),
            id: context.span_id().to_string(),
            parent_id: (span.parent_span_id != otel::SpanId::INVALID)
                .then(|| span.parent_span_id.to_string()),
            name: &span.name,
            kind: match span.span_kind {
                otel::SpanKind::Server => Some("SERVER"),
                otel::SpanKind::Client => Some("CLIENT"),
                otel::SpanKind::Producer => Some("PRODUCER"),
                otel::SpanKind::Consumer => Some("CONSUMER"),
                otel::SpanKind::Internal => None,
            },
            timestamp: micros(start),
            duration: between(start, span.end_time),
            local_endpoint: Endpoint {
                service_name: service,
            },
            annotations: span
                .events
                .iter()
                .map(|event| Annotation {
                    timestamp: micros(event.timestamp),
                    value: &event.name,
                })
                .collect(),
            tags,
            debug: false,
            shared: false,
        }
    }
}

/// The trace id, or the lower half of it where it came as one of 64 bits.
fn digits(trace_id: String, is_short: impl FnOnce(&str) -> bool) -> String {
    match trace_id.split_at_checked(16) {
        Some((high, low)) if is_short(high) => low.to_owned(),
        _ => trace_id,
    }
}

fn micros(time: SystemTime) -> u64 {
    whole(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn between(start: SystemTime, end: SystemTime) -> u64 {
    whole(end.duration_since(start).unwrap_or_default()).max(1)
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
