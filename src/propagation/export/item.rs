use tokio::sync::oneshot;

#[cfg(feature = "zipkin")]
use crate::propagation::span::finished::{FinishedSpan, SpanEvent, TagValue};

/// What the task of an exporter gets.
#[derive(Debug)]
pub(super) enum Message {
    Span(Item),
    /// Everything before this is to be sent now; the sender learns when that is done.
    Flush(oneshot::Sender<()>),
}

/// A span on its way to a collector.
#[derive(Debug)]
pub(super) enum Item {
    /// Of the mesh.
    #[cfg(feature = "zipkin")]
    Mesh(Box<FinishedSpan>),
    /// Of the application.
    #[cfg(feature = "opentelemetry")]
    Application(Box<opentelemetry_sdk::trace::SpanData>),
    /// A line of an access log.
    #[cfg(all(feature = "otlp", feature = "access-log"))]
    Log(Box<LogItem>),
}

impl Item {
    /// How many bytes of memory it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            #[cfg(feature = "zipkin")]
            Self::Mesh(span) => of_mesh(span),
            #[cfg(feature = "opentelemetry")]
            Self::Application(span) => of_application(span),
            #[cfg(all(feature = "otlp", feature = "access-log"))]
            Self::Log(item) => item.bytes,
        };
        bytes as u64
    }
}

#[cfg(feature = "zipkin")]
fn of_mesh(span: &FinishedSpan) -> usize {
    let tag = |(name, value): &(_, TagValue)| {
        let name: &std::borrow::Cow<'static, str> = name;
        size_of::<(String, TagValue)>() + name.len() + value.as_str().len()
    };
    let event = |event: &SpanEvent| size_of::<SpanEvent>() + event.name.len();
    size_of::<FinishedSpan>()
        + span.name.len()
        + span.tags.iter().map(tag).sum::<usize>()
        + span.events.iter().map(event).sum::<usize>()
}

#[cfg(feature = "opentelemetry")]
fn of_application(span: &opentelemetry_sdk::trace::SpanData) -> usize {
    let attribute = |attribute: &opentelemetry::KeyValue| {
        size_of::<opentelemetry::KeyValue>()
            + attribute.key.as_str().len()
            + attribute.value.as_str().len()
    };
    let event = |event: &opentelemetry::trace::Event| {
        let attributes = event.attributes.iter().map(attribute);
        size_of::<opentelemetry::trace::Event>() + event.name.len() + attributes.sum::<usize>()
    };
    size_of::<opentelemetry_sdk::trace::SpanData>()
        + span.name.len()
        + span.attributes.iter().map(attribute).sum::<usize>()
        + span.events.iter().map(event).sum::<usize>()
}

#[cfg(feature = "zipkin")]
impl Item {
    /// A span of the mesh that may wait: it does not hold on to the buffer of its request's head.
    pub(super) fn mesh(mut span: FinishedSpan) -> Self {
        for (_, value) in &mut span.tags {
            if let TagValue::Header(_) = value {
                *value = TagValue::Owned(value.as_str().to_owned());
            }
        }
        Self::Mesh(Box::new(span))
    }
}

/// A log record that waits.
#[cfg(all(feature = "otlp", feature = "access-log"))]
#[derive(Debug)]
pub(super) struct LogItem {
    pub(super) record: opentelemetry_proto::tonic::logs::v1::LogRecord,
    bytes: usize,
}

#[cfg(all(feature = "otlp", feature = "access-log"))]
impl LogItem {
    pub(super) fn new(record: opentelemetry_proto::tonic::logs::v1::LogRecord) -> Self {
        let attributes = size_of_val(&record.attributes[..]);
        let bytes = size_of::<Self>() + attributes + prost::Message::encoded_len(&record);
        Self { record, bytes }
    }
}
