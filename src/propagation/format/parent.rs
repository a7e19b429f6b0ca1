use crate::context::{SpanId, TraceId};

/// The span that caused a request, as read from one of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::propagation) struct Parent {
    pub(in crate::propagation) trace_id: TraceId,
    pub(in crate::propagation) span_id: SpanId,
    /// Whether the caller records; `None` leaves it to us.
    pub(in crate::propagation) sampled: Option<bool>,
    pub(in crate::propagation) debug: bool,
    pub(in crate::propagation) random: bool,
    pub(in crate::propagation) short: bool,
    /// Jaeger's mark of a span that is not to be indexed.
    pub(in crate::propagation) firehose: bool,
}

/// A trace that a request belongs to without a span that has caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::propagation) struct Origin {
    pub(in crate::propagation) trace_id: TraceId,
    pub(in crate::propagation) sampled: Option<bool>,
}

/// What one format holds: a parent, or a trace alone, or only a sampling state, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::propagation) enum Told {
    Parent(Parent),
    Origin(Origin),
    State(State),
    Nothing,
}

/// B3's sampling state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::propagation) struct State {
    pub(in crate::propagation) sampled: Option<bool>,
    pub(in crate::propagation) debug: bool,
}
