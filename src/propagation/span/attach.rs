//! The OpenTelemetry context around polls: spans of the application hang under ours, and calls of
//! ours under them.

use std::cell::Cell;

use opentelemetry::trace::{self as otel, SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, ContextGuard};

use super::active::current_child;
use crate::context::{SpanId, TraceContext, TraceId};

#[derive(Clone, Debug, Default)]
pub(in crate::propagation) struct Attachment(Option<Context>);

#[derive(Debug)]
pub(in crate::propagation) struct Attached {
    _guard: Option<Guard>,
}

struct Guard(#[expect(dead_code, reason = "held for its drop")] ContextGuard);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Attachment {
    /// One allocation, OpenTelemetry's own. Unsampled spans are attached too, or their children
    /// would become roots.
    pub(in crate::propagation) fn new(trace: &TraceContext) -> Self {
        let flags = if trace.sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::NOT_SAMPLED
        };
        let span = SpanContext::new(
            otel::TraceId::from_bytes(trace.trace_id.to_bytes()),
            otel::SpanId::from_bytes(trace.span_id.to_bytes()),
            flags,
            false,
            TraceState::NONE,
        );
        Self(Some(Context::map_current(|current| {
            current.with_remote_span_context(span)
        })))
    }

    /// The context that is current here.
    pub(in crate::propagation) fn current() -> Self {
        Self(Some(Context::current()))
    }

    #[inline]
    pub(in crate::propagation) fn attach(&self) -> Attached {
        let guard = self.0.clone().map(|context| Guard(context.attach()));
        if guard.is_some() {
            witness();
        }
        Attached { _guard: guard }
    }

    /// As [`attach`](Self::attach), in a drop: `None` where OpenTelemetry's stack may be gone.
    pub(in crate::propagation) fn attach_for_drop(&self) -> Option<Attached> {
        HAS_STACK.get().then(|| self.attach())
    }
}

thread_local! {
    /// Whether OpenTelemetry's stack of this thread is there for certain. It has no drop, so it can
    /// be read while the thread ends.
    static HAS_STACK: Cell<bool> = const { Cell::new(false) };
    /// The thread-locals of a thread that ends are dropped in the reverse order of their first use.
    /// This one is first used after OpenTelemetry's, and goes before it.
    static WITNESS: Witness = const { Witness };
}

struct Witness;

impl Drop for Witness {
    fn drop(&mut self) {
        HAS_STACK.set(false);
    }
}

/// OpenTelemetry's stack has just been used here.
#[inline]
fn witness() {
    if !HAS_STACK.get() && WITNESS.try_with(|_| ()).is_ok() {
        HAS_STACK.set(true);
    }
}

/// A span of the application.
pub(in crate::propagation) struct ActiveSpan {
    pub(in crate::propagation) trace_id: TraceId,
    pub(in crate::propagation) span_id: SpanId,
    pub(in crate::propagation) sampled: bool,
}

/// The span that is active where this is called. OpenTelemetry knows it; where it knows none, as
/// in a drop, it is the one that a handler opened by hand.
pub(in crate::propagation) fn active_span() -> Option<ActiveSpan> {
    let told = Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        Some(ActiveSpan {
            trace_id: TraceId::from_bytes(span.trace_id().to_bytes())?,
            span_id: SpanId::from_bytes(span.span_id().to_bytes())?,
            sampled: span.is_sampled(),
        })
    });
    told.or_else(|| {
        let open = current_child()?;
        Some(ActiveSpan {
            trace_id: open.trace.trace_id,
            span_id: open.trace.span_id,
            sampled: open.trace.sampled,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drop at the end of a thread may use OpenTelemetry's stack only if that is older than what
    /// tells of its end, so an attachment of nothing, which does not use it, tells nothing.
    #[test]
    fn an_attachment_of_nothing_says_nothing_of_the_stack() {
        let told = std::thread::spawn(|| {
            let (nothing, some) = (Attachment::default(), Attachment(Some(Context::new())));
            let before = {
                let _attached = nothing.attach();
                some.attach_for_drop().is_some()
            };
            drop(some.attach());
            [before, some.attach_for_drop().is_some()]
        });
        assert_eq!(told.join().unwrap(), [false, true]);
    }
}
