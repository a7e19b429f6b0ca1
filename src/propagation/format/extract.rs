//! Reads the caller's trace context from the headers that were found.

use super::headers::{Incoming, Once, Seen};
use super::parent::{Origin, Parent, State, Told};
use super::w3c;
use super::{b3, cloud_trace, jaeger, open_census};
use crate::context::Formats;

/// A family of headers that carry a trace from one process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// W3C Trace Context: `traceparent`, `tracestate`.
    W3c,
    /// Zipkin's B3: the single header `b3` or the `x-b3-` headers. A trace goes on in the encoding
    /// in which it came, a new one in the `x-b3-` headers.
    B3,
    /// Jaeger's `uber-trace-id`, and its baggage, the headers `uberctx-…`, which goes where `baggage`
    /// goes.
    Jaeger,
    /// OpenCensus' `grpc-trace-bin`.
    OpenCensus,
    /// Google Cloud's `x-cloud-trace-context`. One that names no span makes the request the root of
    /// its trace.
    CloudTrace,
}

impl Format {
    /// What is in [`Formats::OPTIONAL`] of this format.
    pub(in crate::propagation) const fn optional(self) -> Formats {
        match self {
            Self::W3c | Self::B3 => Formats::NONE,
            Self::Jaeger => Formats::JAEGER,
            Self::OpenCensus => Formats::OPEN_CENSUS,
            Self::CloudTrace => Formats::CLOUD_TRACE,
        }
    }
}

/// The trace context in the headers, from all formats.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Extracted {
    pub(in crate::propagation) parent: Option<Parent>,
    /// The trace of a request that has no parent.
    pub(in crate::propagation) origin: Option<Origin>,
    /// What should become of a trace that has no parent.
    pub(in crate::propagation) state: State,
    /// Whether the parent came by `traceparent`, so that `tracestate` belongs to it.
    pub(in crate::propagation) is_w3c: bool,
    /// The formats to go on in.
    pub(in crate::propagation) formats: Formats,
    /// Those of them that came in, and the first.
    pub(in crate::propagation) came: Formats,
}

/// Reads the formats in order: the first that is present and valid gives the context. All that came
/// in will go out.
pub(in crate::propagation) fn extract(order: &[Format], incoming: &Incoming<'_>) -> Extracted {
    let mut extracted = Extracted::default();
    for format in order {
        let (told, formats) = match format {
            Format::W3c => (told_by_w3c(incoming), Formats::W3C),
            Format::B3 => told_by_b3(incoming),
            Format::Jaeger | Format::OpenCensus | Format::CloudTrace => {
                (told_by_optional(*format, incoming), format.optional())
            }
        };
        extracted.formats = extracted.formats.union(formats);
        if told != Told::Nothing || extracted.came == Formats::default() {
            extracted.came = extracted.came.union(formats);
        }
        match told {
            Told::Parent(parent) if extracted.is_open() => {
                extracted.parent = Some(parent);
                extracted.is_w3c = *format == Format::W3c;
            }
            Told::Origin(origin) if extracted.is_open() => extracted.origin = Some(origin),
            Told::State(state) => extracted.state = state,
            Told::Parent(_) | Told::Origin(_) | Told::Nothing => {}
        }
    }
    if extracted.is_open() {
        extracted.came = extracted.formats;
    }
    extracted
}

impl Extracted {
    /// Whether no format has given a context.
    const fn is_open(&self) -> bool {
        self.parent.is_none() && self.origin.is_none()
    }
}

#[cold]
fn told_by_optional(format: Format, incoming: &Incoming<'_>) -> Told {
    let found = incoming.optional;
    let (value, read): (_, fn(&[u8]) -> Told) = match format {
        Format::Jaeger => (found.jaeger, jaeger::read),
        Format::OpenCensus => (found.open_census, open_census::read),
        Format::CloudTrace => (found.cloud_trace, cloud_trace::read),
        Format::W3c | Format::B3 => return Told::Nothing,
    };
    value.map_or(Told::Nothing, |value| read(value.as_bytes()))
}

fn told_by_w3c(incoming: &Incoming<'_>) -> Told {
    match incoming.traceparent {
        Once::One(value) => w3c::traceparent(value.as_bytes()).map_or(Told::Nothing, Told::Parent),
        Once::Absent | Once::Several => Told::Nothing,
    }
}

/// Reads B3, and returns the encoding in which the trace goes on.
fn told_by_b3(incoming: &Incoming<'_>) -> (Told, Formats) {
    if !incoming.has(Seen::B3) {
        return (Told::Nothing, Formats::B3_MULTI);
    }
    let single = incoming.b3.map(|value| b3::single(value.as_bytes()));
    match single {
        Some(told @ (Told::Parent(_) | Told::Origin(_) | Told::State(_))) => {
            (told, Formats::B3_SINGLE)
        }
        Some(Told::Nothing) | None => (incoming.b3_multi.read(), Formats::B3_MULTI),
    }
}
