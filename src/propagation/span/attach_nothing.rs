//! Replaces OpenTelemetry's context in a build without it.

use super::active::current_child;
use crate::context::{SpanId, TraceContext, TraceId};

#[derive(Clone, Debug, Default)]
pub(in crate::propagation) struct Attachment {}

#[derive(Debug)]
pub(in crate::propagation) struct Attached;

impl Attachment {
    pub(in crate::propagation) fn new(_trace: &TraceContext) -> Self {
        Self {}
    }

    pub(in crate::propagation) fn current() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "the other build needs it")]
    pub(in crate::propagation) fn attach(&self) -> Attached {
        Attached
    }

    #[expect(clippy::unused_self, reason = "the other build needs it")]
    pub(in crate::propagation) fn attach_for_drop(&self) -> Option<Attached> {
        None
    }
}

/// A span of the application.
pub(in crate::propagation) struct ActiveSpan {
    pub(in crate::propagation) trace_id: TraceId,
    pub(in crate::propagation) span_id: SpanId,
    pub(in crate::propagation) sampled: bool,
}

/// The span that a handler opened by hand, if there is one.
pub(in crate::propagation) fn active_span() -> Option<ActiveSpan> {
    let open = current_child()?;
    Some(ActiveSpan {
        trace_id: open.trace.trace_id,
        span_id: open.trace.span_id,
        sampled: open.trace.sampled,
    })
}
