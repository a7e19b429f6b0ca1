//! Reads the caller's trace context from the headers that were found.

use super::b3;
use super::headers::{Incoming, Once, Seen};
use super::parent::{Parent, State, Told};
use super::w3c;
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
}

/// The trace context in the headers, from all formats.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Extracted {
    pub(in crate::propagation) parent: Option<Parent>,
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
        };
        extracted.formats = extracted.formats.union(formats);
        if told != Told::Nothing || extracted.came == Formats::default() {
            extracted.came = extracted.came.union(formats);
        }
        match told {
            Told::Parent(parent) if extracted.parent.is_none() => {
                extracted.parent = Some(parent);
                extracted.is_w3c = *format == Format::W3c;
            }
            Told::State(state) => extracted.state = state,
            Told::Parent(_) | Told::Nothing => {}
        }
    }
    if extracted.parent.is_none() {
        extracted.came = extracted.formats;
    }
    extracted
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
        Some(told @ (Told::Parent(_) | Told::State(_))) => (told, Formats::B3_SINGLE),
        Some(Told::Nothing) | None => (incoming.b3_multi.read(), Formats::B3_MULTI),
    }
}
