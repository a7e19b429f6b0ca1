//! The request's context in other tasks: spawned ones, threads for blocking work, and those at the
//! other end of a channel.
//!
//! A task that a handler spawns is not the task of the request, so nothing is current in it.
//! [`in_request`] wraps a future, a closure or a message together with the request in which it is
//! called. What runs inside finds the [exchange](crate::context::current), the
//! [trace](crate::context::current_trace), the [current span](crate::propagation::current_span) and,
//! with the feature `opentelemetry`, OpenTelemetry's context, as in the handler itself: its calls
//! are children of the request, and its log lines have the trace id.
//!
//! | into | how |
//! |---|---|
//! | `tokio::spawn` | `tokio::spawn(work().in_request())` |
//! | a `JoinSet` | `set.spawn(work().in_request())` |
//! | `spawn_blocking`, a thread | `spawn_blocking(in_request(\|\| work()).into_fn())` |
//! | a channel | `sender.send(in_request(job))`, and at the other end `job.scope(\|job\| work(job))`, or `job.map(\|job\| work(job)).await` for work that is a future |
//!
//! The request is taken where `in_request` is called, not where the work first runs. Outside of any
//! request it takes nothing, and the work runs in whatever surrounds it then. The adapter enters
//! its request for each poll, and for the drop of what it holds, and leaves it also when that
//! panics. It allocates nothing.
//!
//! Work may outlast its request. Then its trace and its calls still belong to the request, and the
//! adapter keeps the facts of the exchange in memory, with the peer and the claims. What it
//! [tags](crate::propagation::tag) on the server span after the end of the response is lost; spans
//! that it opens are exported.
//!
//! ```
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_mesh::context;
//! use tower_mesh::propagation::Propagation;
//! use tower_mesh::propagation::carry::InRequestExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new().layer(Propagation::new().server_layer()).service(service_fn(async |_: Request<String>| {
//!     let trace = context::current_trace().unwrap();
//!     let lost = tokio::spawn(async { context::current_trace() });
//!     assert!(lost.await.unwrap().is_none());
//!     let kept = tokio::spawn(async { context::current_trace() }.in_request());
//!     assert_eq!(kept.await.unwrap().unwrap().trace_id, trace.trace_id);
//!     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//! }));
//! # service.oneshot(Request::new(String::new())).await.unwrap();
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::{pin_project, pinned_drop};

use super::task::Task;
use crate::message::polled_too_late;

/// A future, a closure or a message, and the request in which it was wrapped.
///
/// A future stays one, and runs in its request. A closure becomes one that does with
/// [`into_fn`](Self::into_fn). A message is opened with [`scope`](Self::scope) or
/// [`map`](Self::map).
///
/// # Panics
///
/// When the future is polled, or the value is used, after the future has ended.
#[pin_project(PinnedDrop)]
#[derive(Clone, Debug)]
#[must_use = "what is wrapped does nothing by itself"]
pub struct InRequest<T> {
    /// `None` once a future has ended, or the value was taken out.
    #[pin]
    inner: Option<T>,
    task: Task,
}

/// Wraps a value together with the request that is current here; see [the module](self).
pub fn in_request<T>(inner: T) -> InRequest<T> {
    InRequest {
        inner: Some(inner),
        task: Task::current(),
    }
}

/// [`in_request`] as a method of everything.
pub trait InRequestExt: Sized {
    /// Wraps this together with the request that is current here.
    fn in_request(self) -> InRequest<Self> {
        in_request(self)
    }
}

impl<T> InRequestExt for T {}

impl<T> InRequest<T> {
    /// Calls `work` with the value, in its request.
    pub fn scope<R>(mut self, work: impl FnOnce(T) -> R) -> R {
        let inner = self.inner.take();
        let _entered = self.task.enter();
        match inner {
            Some(inner) => work(inner),
            None => polled_too_late("InRequest"),
        }
    }

    /// Makes another value of this one, in the same request: of a message the future that handles
    /// it, for instance.
    pub fn map<R>(mut self, change: impl FnOnce(T) -> R) -> InRequest<R> {
        let inner = self.inner.take();
        let mut task = std::mem::take(&mut self.task);
        let entered = task.enter();
        let inner = inner.map(change);
        drop(entered);
        InRequest { inner, task }
    }

    /// The closure, which will run in its request.
    pub fn into_fn<R>(self) -> impl FnOnce() -> R
    where
        T: FnOnce() -> R,
    {
        move || self.scope(|work| work())
    }
}

impl<F: Future> Future for InRequest<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut inner = this.inner;
        let _entered = this.task.enter();
        let polled = match inner.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx),
            None => polled_too_late("InRequest"),
        };
        if polled.is_ready() {
            inner.set(None);
        }
        polled
    }
}

#[pinned_drop]
impl<T> PinnedDrop for InRequest<T> {
    /// Drops what it holds in its request.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.task.enter_drop();
        this.inner.set(None);
    }
}
