//! Tags, events and spans that a handler adds with one line each.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project::{pin_project, pinned_drop};

use super::ids::random;
use super::span::active::{self, Open};
use super::span::attach::active_span;
use super::span::finished::TagValue;
use super::task::Task;
use crate::context::{SpanId, TraceContext};
use crate::message::{contained, polled_too_late};

/// Sets a tag of the [current span](current_span): `propagation::tag("patient.count", 3)`.
///
/// Numbers stay numbers in OpenTelemetry. A name that is set again has the new value; a name of the
/// mesh's own keeps the mesh's. A span keeps the first 128 tags that are set, with names and values
/// of at most 4 KiB. Outside of a recorded request this does nothing and allocates nothing.
pub fn tag(name: impl Into<Cow<'static, str>>, value: impl Into<TagValue>) {
    if let Some(span) = current_span() {
        span.tag(name, value);
    }
}

/// Notes on the [current span](current_span) that something happens now:
/// `propagation::event("cache miss")`.
///
/// A span keeps its first 128 events, with names of at most 4 KiB. Outside of a recorded request
/// this does nothing and allocates nothing.
pub fn event(name: impl Into<Cow<'static, str>>) {
    if let Some(span) = current_span() {
        span.event(name);
    }
}

/// Opens a span inside the process, as a child of the span that is active here:
/// `propagation::span("read chart").within(read_chart(7)).await`.
///
/// The parent is the innermost span that was opened in this way, else the server span of the
/// request; with the feature `opentelemetry` also a span of the application's `tracing`. Calls that
/// are made inside the span, and `tracing` spans with that feature, are its children in turn. It
/// goes to the same [`SpanSink`](super::SpanSink) with the kind
/// [`Internal`](super::SpanKind::Internal).
///
/// Outside of a recorded request the result is a span that does nothing and allocates nothing:
/// calls inside it stay children of the request.
pub fn span(name: impl AsRef<str>) -> ChildSpan {
    let Some(Span(open)) = current_span() else {
        return ChildSpan::default();
    };
    // A span of the application that is of another trace, or not recorded, is no parent.
    let active = active_span().filter(|it| it.sampled && it.trace_id == open.trace.trace_id);
    let parent = active.map_or(open.trace.span_id, |active| active.span_id);
    ChildSpan::open(&open, name.as_ref(), parent)
}

/// The recorded span that this code runs in: the server span of the request, or the innermost one
/// that [`span`] has opened. `None` outside of a request and where the request is not recorded.
///
/// ```
/// use tower_mesh::propagation;
///
/// fn read_chart(number: u64) {
///     if let Some(span) = propagation::current_span() {
///         // Only where somebody will see it.
///         span.tag("chart.summary", format!("chart {number} of the ward"));
///     }
/// }
/// # read_chart(7);
/// ```
#[must_use]
pub fn current_span() -> Option<Span> {
    active::current().map(Span)
}

/// A handle to a recorded span. Cheap to clone; it may be kept, and sent to other tasks.
///
/// What is added after the span has ended is lost.
#[derive(Clone)]
pub struct Span(Arc<Open>);

impl Span {
    /// The span's place in its trace.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.0.trace
    }

    /// Sets a tag; see [`tag`].
    pub fn tag(&self, name: impl Into<Cow<'static, str>>, value: impl Into<TagValue>) {
        self.0.tag(name.into(), value.into());
    }

    /// Notes that something happens now; see [`event`].
    pub fn event(&self, name: impl Into<Cow<'static, str>>) {
        self.0.event(name.into());
    }

    /// Marks the span as failed: it gets the tag `error`, and with
    /// [`semantic_conventions`](super::Propagation::semantic_conventions) also `error.type` with
    /// the value `_OTHER`, unless it has one.
    pub fn fail(&self) {
        self.0.fail("_OTHER");
    }

    /// Opens a child of this very span, whichever is active here; see [`span`].
    pub fn child(&self, name: impl AsRef<str>) -> ChildSpan {
        ChildSpan::open(&self.0, name.as_ref(), self.0.trace.span_id)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.trace).finish()
    }
}

/// A span that [`span`] has opened. It ends when what runs in it has ended, or when it is dropped.
///
/// A panic inside ends it as failed, and so does [`Span::fail`]. A future that is dropped early
/// ends it, too, as it is.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct ChildSpan(Option<Box<Running>>);

#[derive(Debug)]
struct Running {
    span: Span,
    task: Task,
}

impl ChildSpan {
    fn open(parent: &Open, name: &str, parent_id: SpanId) -> Self {
        let mut trace = parent.trace.child(random::span_id());
        trace.parent_span_id = Some(parent_id);
        let task = |open: &Arc<Open>| {
            let exchange = open.exchange.clone();
            Task::of_request(exchange, &open.trace, Some(Arc::clone(open)))
        };
        let open = parent.child(name, trace);
        Self(Some(Box::new(Running {
            task: task(&open),
            span: Span(open),
        })))
    }

    /// A handle to the span, to add to it from outside; `None` if it is not recorded.
    #[must_use]
    pub fn handle(&self) -> Option<&Span> {
        self.0.as_ref().map(|running| &running.span)
    }

    /// Sets a tag; see [`tag`].
    pub fn with_tag(self, name: impl Into<Cow<'static, str>>, value: impl Into<TagValue>) -> Self {
        if let Some(span) = self.handle() {
            span.tag(name, value);
        }
        self
    }

    /// Runs a future in the span, in this task or, in its request, in a spawned one. The span ends
    /// with the future.
    pub fn within<F: Future>(self, future: F) -> Within<F> {
        Within {
            inner: Some(future),
            span: self,
        }
    }

    /// Runs code that is no future in the span, which ends with it.
    pub fn in_scope<R>(mut self, work: impl FnOnce() -> R) -> R {
        self.run(work)
    }

    fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        match &mut self.0 {
            Some(running) => {
                let Running { span, task } = &mut **running;
                let unwinding = Unwinding(span);
                let entered = task.enter();
                let result = work();
                drop(entered);
                mem::forget(unwinding);
                result
            }
            None => work(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        contained(|| self.span.0.end_child());
    }
}

/// Marks the span as failed, unless it is forgotten: in a panic it is not.
struct Unwinding<'a>(&'a Span);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        self.0.0.fail("panic");
    }
}

/// The future of [`ChildSpan::within`].
///
/// # Panics
///
/// When it is polled after it has ended.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Within<F> {
    /// `None` once it has ended.
    #[pin]
    inner: Option<F>,
    span: ChildSpan,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut inner = this.inner;
        let polled = this.span.run(|| {
            let polled = match inner.as_mut().as_pin_mut() {
                Some(future) => future.poll(cx),
                None => polled_too_late("Within"),
            };
            if polled.is_ready() {
                inner.set(None);
            }
            polled
        });
        if polled.is_ready() {
            drop(mem::take(this.span));
        }
        polled
    }
}

#[pinned_drop]
impl<F> PinnedDrop for Within<F> {
    /// Drops the future in its span.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let running = this.span.0.as_mut();
        let _entered = running.map(|running| running.task.enter_drop());
        this.inner.set(None);
    }
}
