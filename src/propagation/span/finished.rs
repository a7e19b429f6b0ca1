use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;

use crate::context::{SpanId, TraceContext, TraceId};

/// Where the spans of recorded requests go.
///
/// With the feature `opentelemetry`, `OpenTelemetry` hands them to the application's own span
/// processor.
pub trait SpanSink: fmt::Debug + Send + Sync + 'static {
    /// Takes a span that has ended. Called at the end of a body, often from a `Drop`: it must not
    /// panic and should not block.
    ///
    /// A tag that is a [`TagValue::Header`] shares the buffer that the request's head was read
    /// into: who keeps spans for long copies it.
    fn export(&self, span: FinishedSpan);
}

impl<S: SpanSink + ?Sized> SpanSink for Arc<S> {
    fn export(&self, span: FinishedSpan) {
        (**self).export(span);
    }
}

/// A server or client span that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FinishedSpan {
    /// The operation, by Istio's naming, or OpenTelemetry's where
    /// [`semantic_conventions`](crate::propagation::Propagation::semantic_conventions) are asked
    /// for.
    pub name: Arc<str>,
    /// Which side of the call it is.
    pub kind: SpanKind,
    /// Its ids and those of its parent.
    pub trace: TraceContext,
    /// Whether the parent is a span of another process.
    pub parent_is_remote: bool,
    /// A span that this trace does not continue but remembers.
    pub link: Option<(TraceId, SpanId)>,
    /// When the request came in or went out.
    pub start: SystemTime,
    /// When the body of the response ended.
    pub end: SystemTime,
    /// Whether it counts as an error in OpenTelemetry's sense.
    pub is_error: bool,
    /// Istio's tags, and then those of OpenTelemetry's conventions, if they are asked for.
    pub tags: Vec<(Cow<'static, str>, TagValue)>,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Of the service that was called.
    Server,
    /// Of the caller.
    Client,
}

/// The value of a tag: a text, however it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagValue {
    /// Known at compile time.
    Static(&'static str),
    /// The same for many spans.
    Shared(Arc<str>),
    /// As it stood in a header; nothing when that is no text.
    Header(HeaderValue),
    /// Of this span alone.
    Owned(String),
    /// A number, and the same as text: only OpenTelemetry's conventions have any.
    Number(i64, String),
}

impl TagValue {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
            Self::Header(value) => value.to_str().unwrap_or_default(),
            Self::Owned(text) | Self::Number(_, text) => text,
        }
    }
}

impl FinishedSpan {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|(tag, _)| tag == name)
            .map(|(_, value)| value.as_str())
    }
}
