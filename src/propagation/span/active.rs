//! The span that the current thread is in, where it is recorded, so that a handler can add to it.

use std::borrow::Cow;
use std::cell::Cell;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use super::finished::{FinishedSpan, SpanEvent, SpanKind, SpanSink, SpanView, TagValue};
use super::notes::{Notes, shorten_name};
use crate::context::{self, Exchange, SpanId, TraceContext};

thread_local! {
    static ACTIVE: Cell<Option<Arc<Open>>> = const { Cell::new(None) };
}

/// A recorded span that has begun: the server span of a request, or a child that a handler opened.
#[derive(Debug)]
pub(in crate::propagation) struct Open {
    /// Of a child; a server span has its name from elsewhere.
    name: Option<Arc<str>>,
    pub(in crate::propagation) trace: TraceContext,
    pub(in crate::propagation) exchange: Exchange,
    /// The server span of the request.
    server: SpanId,
    sink: Arc<dyn SpanSink>,
    view: SpanView,
    start: SystemTime,
    clock: Clock,
    notes: Notes,
    /// What kind of error it ended with.
    error: OnceLock<&'static str>,
}

/// One reading of the clock for all spans of a request. Times are counted from it, so a clock that
/// is set back makes no span that ends before it starts, and no child that starts before its parent.
#[derive(Clone, Copy, Debug)]
struct Clock {
    time: SystemTime,
    at: Instant,
}

impl Clock {
    fn now(&self) -> SystemTime {
        let now = self.time.checked_add(self.at.elapsed());
        now.unwrap_or(self.time)
    }
}

impl Open {
    /// The server span of a request that came in.
    pub(super) fn server(
        trace: &TraceContext,
        exchange: &Exchange,
        sink: &Arc<dyn SpanSink>,
        view: SpanView,
        start: SystemTime,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: None,
            trace: trace.clone(),
            exchange: exchange.clone(),
            server: trace.span_id,
            sink: Arc::clone(sink),
            view,
            start,
            clock: Clock {
                time: start,
                at: Instant::now(),
            },
            notes: Notes::default(),
            error: OnceLock::new(),
        })
    }

    /// A child that begins now.
    pub(in crate::propagation) fn child(&self, name: &str, trace: TraceContext) -> Arc<Self> {
        Arc::new(Self {
            name: Some(shorten_name(name)),
            trace,
            exchange: self.exchange.clone(),
            server: self.server,
            sink: Arc::clone(&self.sink),
            view: self.view,
            start: self.clock.now(),
            clock: self.clock,
            notes: Notes::default(),
            error: OnceLock::new(),
        })
    }

    fn is_child(&self) -> bool {
        self.trace.span_id != self.server
    }

    pub(in crate::propagation) fn tag(&self, name: Cow<'static, str>, value: TagValue) {
        self.notes.tag(name, value);
    }

    pub(in crate::propagation) fn event(&self, name: Cow<'static, str>) {
        let time = self.clock.now();
        self.notes.event(SpanEvent { name, time });
    }

    /// Marks the span as failed. The first kind of error counts.
    pub(in crate::propagation) fn fail(&self, kind: &'static str) {
        let _ = self.error.set(kind);
    }

    /// Adds to a span that ends now what was noted on it.
    pub(super) fn complete(&self, span: &mut FinishedSpan) {
        span.end = self.clock.now().max(span.start);
        if let Some(kind) = self.error.get() {
            span.is_error = true;
            if self.view.has_istio() && span.tag("error").is_none() {
                span.tags.push(("error".into(), TagValue::Static("true")));
            }
            if self.view.has_conventions() && span.tag("error.type").is_none() {
                let kind = TagValue::Static(kind);
                span.tags.push(("error.type".into(), kind));
            }
        }
        self.notes.add_tags(&mut span.tags);
        span.events = self.notes.events.iter().cloned().collect();
        span.dropped_tags = self.notes.tags.dropped();
        span.dropped_events = self.notes.events.dropped();
    }

    /// Ends a child.
    pub(in crate::propagation) fn end_child(&self) {
        let mut span = FinishedSpan {
            name: self.name.clone().unwrap_or_default(),
            kind: SpanKind::Internal,
            trace: self.trace.clone(),
            parent_is_remote: false,
            shared: false,
            link: None,
            start: self.start,
            end: self.start,
            is_error: false,
            tags: Vec::new(),
            events: Vec::new(),
            dropped_tags: 0,
            dropped_events: 0,
        };
        self.complete(&mut span);
        self.sink.export(span);
    }
}

/// The innermost span that is recorded here. A span of another request than the current one does
/// not count.
pub(in crate::propagation) fn current() -> Option<Arc<Open>> {
    // `try_with`: a future may be dropped while its thread ends, when the thread-local is gone.
    let open = ACTIVE.try_with(|cell| {
        let active = cell.take();
        let copy = active.clone();
        cell.set(active);
        copy
    });
    let open = open.ok().flatten()?;
    let request = context::current_trace()?;
    (request.span_id == open.server).then_some(open)
}

/// As [`current`], if a handler has opened it.
pub(super) fn current_child() -> Option<Arc<Open>> {
    current().filter(|open| open.is_child())
}

/// What becomes the current span with a task.
#[derive(Clone, Debug, Default)]
pub(in crate::propagation) enum Active {
    /// Whatever it was before.
    #[default]
    Unchanged,
    /// This one; with `None`, spans of a request further out are hidden.
    Span(Option<Arc<Open>>),
}

impl Active {
    /// Makes the span the current one until the guard is dropped: swaps a thread-local.
    #[inline]
    pub(in crate::propagation) fn lend(&mut self) -> Option<Lent<'_>> {
        match self {
            Self::Unchanged => None,
            Self::Span(slot) => {
                swap(slot);
                Some(Lent(slot))
            }
        }
    }
}

/// While this lives, the span is the current one.
#[derive(Debug)]
#[must_use]
pub(in crate::propagation) struct Lent<'a>(&'a mut Option<Arc<Open>>);

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

#[inline]
fn swap(slot: &mut Option<Arc<Open>>) {
    let _ = ACTIVE.try_with(|cell| {
        let before = cell.replace(mem::take(slot));
        *slot = before;
    });
}
