use crate::context::{SpanId, TraceId};

/// The span that caused a request, as one of the formats told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// Whether the caller records; `None` leaves it to us.
    pub(super) sampled: Option<bool>,
    pub(super) debug: bool,
    pub(super) random: bool,
    pub(super) short: bool,
}

/// What one format told: a parent, or only what should become of the trace, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Parent(Parent),
    State(State),
    Nothing,
}

/// B3's sampling state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sampled: Option<bool>,
    pub(super) debug: bool,
}
