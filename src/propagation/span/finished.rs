use std::borrow::Cow;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::export_counts::ExportCounts;
use crate::context::{SpanId, TraceContext, TraceId};
use crate::identity::Workload;
use crate::propagation::format::extract::Format;

/// Where the spans of recorded requests go.
///
/// With the feature `opentelemetry`, `OpenTelemetry` hands them to the application's own span
/// processor. With `otlp` and `zipkin`, `Otlp` and `Zipkin` send them to a collector.
pub trait SpanSink: fmt::Debug + Send + Sync + 'static {
    /// Takes a span that has ended. Called at the end of a body, often from a `Drop`: it must not
    /// panic and should not block.
    ///
    /// A tag that is a [`TagValue::Header`] shares the buffer that the request's head was read
    /// into: who keeps spans for long copies it.
    fn export(&self, span: FinishedSpan);

    /// Learns which workload the spans are of. Called when it is known, which is before the first
    /// span in a [`Mesh`](crate::mesh).
    fn workload(&self, _workload: &Workload) {}

    /// The order of formats, where the application has chosen
    /// [none](crate::propagation::Propagation::formats).
    fn usual_formats(&self) -> &'static [Format] {
        &[Format::W3c, Format::B3]
    }

    /// Whether it can take a server's span that has the ids of its caller's.
    fn takes_shared_spans(&self) -> bool {
        true
    }

    /// Whether a span whose operation is not known is named after the authority of its request, as
    /// Envoy's are for Zipkin. Otherwise it is `ingress`, or `egress` and the authority.
    fn names_after_authority(&self) -> bool {
        false
    }

    /// What has become of the spans; `None` from a sink that does not count.
    fn counts(&self) -> Option<ExportCounts> {
        None
    }

    /// Sends what waits to be sent. Returns whether that was done within this time; a sink that
    /// keeps nothing is done at once.
    fn flush(&self, _within: Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(ready(true))
    }
}

impl<S: SpanSink + ?Sized> SpanSink for Arc<S> {
    fn export(&self, span: FinishedSpan) {
        (**self).export(span);
    }

    fn workload(&self, workload: &Workload) {
        (**self).workload(workload);
    }

    fn usual_formats(&self) -> &'static [Format] {
        (**self).usual_formats()
    }

    fn takes_shared_spans(&self) -> bool {
        (**self).takes_shared_spans()
    }

    fn names_after_authority(&self) -> bool {
        (**self).names_after_authority()
    }

    fn counts(&self) -> Option<ExportCounts> {
        (**self).counts()
    }

    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        (**self).flush(within)
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FinishedSpan {
    /// The operation, by Istio's naming, or OpenTelemetry's where
    /// [`semantic_conventions`](crate::propagation::Propagation::semantic_conventions) are asked
    /// for.
    pub name: Arc<str>,
    /// Which side of the call it is, or neither.
    pub kind: SpanKind,
    /// Its ids and those of its parent.
    pub trace: TraceContext,
    /// Whether the parent is a span of another process.
    pub parent_is_remote: bool,
    /// Whether it has the ids of the caller's span:
    /// [`share_spans`](crate::propagation::Propagation::share_spans).
    pub shared: bool,
    /// A span that this trace does not continue but remembers.
    pub link: Option<(TraceId, SpanId)>,
    /// When the request came in or went out, or the handler opened the span.
    pub start: SystemTime,
    /// When the body of the response ended, or the handler closed the span. Never before
    /// [`start`](Self::start), even when the clock was set back meanwhile.
    pub end: SystemTime,
    /// Whether it counts as an error in OpenTelemetry's sense.
    pub is_error: bool,
    /// Istio's tags, then those of OpenTelemetry's conventions, if they are asked for, and then the
    /// application's own, at most 128. No name stands twice.
    pub tags: Vec<(Cow<'static, str>, TagValue)>,
    /// What the application noted while the span lasted, in that order; at most 128.
    pub events: Vec<SpanEvent>,
    /// How many tags of the application found no place.
    pub dropped_tags: u32,
    /// How many events found no place.
    pub dropped_events: u32,
}

/// A moment of a span: see [`event`](crate::propagation::event()).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanEvent {
    /// What happened; at most 4 KiB.
    pub name: Cow<'static, str>,
    /// When it happened.
    pub time: SystemTime,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpanKind {
    /// Of the service that was called.
    Server,
    /// Of the caller.
    Client,
    /// Neither: work inside the process, which a handler opened a [span](crate::propagation::span())
    /// for.
    Internal,
}

/// How spans show a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanView {
    /// The names and tags of Istio's sidecar, by which Kiali and dashboards made for Istio find
    /// them.
    #[default]
    Istio,
    /// The names and attributes of OpenTelemetry's semantic conventions, and no tag of Istio's but
    /// `guid:x-request-id`.
    SemanticConventions,
    /// Istio's tags and the attributes of the conventions, with the conventions' names.
    Both,
}

impl SpanView {
    pub(super) fn has_istio(self) -> bool {
        self != Self::SemanticConventions
    }

    pub(super) fn has_conventions(self) -> bool {
        self != Self::Istio
    }
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
    /// A number, and the same as text: of OpenTelemetry's conventions, or of the application.
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

impl From<&str> for TagValue {
    fn from(text: &str) -> Self {
        Self::Owned(text.to_owned())
    }
}

impl From<String> for TagValue {
    fn from(text: String) -> Self {
        Self::Owned(text)
    }
}

impl From<Cow<'static, str>> for TagValue {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Static(text),
            Cow::Owned(text) => Self::Owned(text),
        }
    }
}

impl From<Arc<str>> for TagValue {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<bool> for TagValue {
    fn from(value: bool) -> Self {
        Self::Static(if value { "true" } else { "false" })
    }
}

/// As text.
impl From<f64> for TagValue {
    fn from(number: f64) -> Self {
        Self::Owned(number.to_string())
    }
}

impl From<i64> for TagValue {
    fn from(number: i64) -> Self {
        Self::Number(number, number.to_string())
    }
}

/// A number that is greater than `i64::MAX` becomes a text.
impl From<u64> for TagValue {
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(signed) => signed.into(),
            Err(_) => Self::Owned(number.to_string()),
        }
    }
}

impl From<usize> for TagValue {
    fn from(number: usize) -> Self {
        // No target of the compiler has wider ones.
        (number as u64).into()
    }
}

/// Declares tags of numbers that fit into an `i64`.
macro_rules! from_small_numbers {
    ($($Number:ty)+) => {
        $(
            impl From<$Number> for TagValue {
                fn from(number: $Number) -> Self {
                    i64::from(number).into()
                }
            }
        )+
    };
}

from_small_numbers! { i8 i16 i32 u8 u16 u32 }

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
