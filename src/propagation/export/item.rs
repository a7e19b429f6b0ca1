use tokio::sync::oneshot;

#[cfg(feature = "zipkin")]
use crate::propagation::span::finished::{FinishedSpan, TagValue};

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
