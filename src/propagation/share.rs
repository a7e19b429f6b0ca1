//! Servers without ids of their own: of Zipkin's shared spans, and where no spans are recorded.

use super::config::Settings;
use super::format::b3;
use super::format::extract::{Format, extract};
use super::format::headers::Incoming;
use crate::context::TraceContext;

/// Gives a trace that continues the caller's by B3 the ids that the caller sent: trace, span and
/// parent. Returns whether it has them.
pub(super) fn share(
    settings: &Settings,
    incoming: &Incoming<'_>,
    trace: &mut TraceContext,
) -> bool {
    if !settings.shares_spans {
        return false;
    }
    let sink = &settings.recorder.sink;
    if sink.as_ref().is_some_and(|sink| !sink.takes_shared_spans()) {
        return false;
    }
    let Some(told) = extract(&[Format::B3], incoming).parent else {
        return false;
    };
    if told.trace_id != trace.trace_id || Some(told.span_id) != trace.parent_span_id {
        return false;
    }
    pass_on(incoming, trace);
    true
}

/// Leaves a trace that continues the caller's as it came, as a hop that adds no span does.
pub(super) fn pass_on(incoming: &Incoming<'_>, trace: &mut TraceContext) {
    let Some(parent) = trace.parent_span_id else {
        return;
    };
    let told = extract(&[Format::B3], incoming).parent;
    trace.span_id = parent;
    trace.parent_span_id = told
        .filter(|told| told.span_id == parent)
        .and_then(|_| b3::parent_span_id(incoming.b3, &incoming.b3_multi));
}
