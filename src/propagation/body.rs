use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

use super::side::{Record, Span};
use super::task::Task;
use crate::message::EosBody;

/// The body of the layers' responses: it is polled as the current request, and its end is the end
/// of the span.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B, T: Span>(#[pin] EosBody<TaskBody<B>, Record<T>>);

impl<B: Body, T: Span> ResponseBody<B, T> {
    pub(super) fn wrap(
        response: Response<B>,
        method: &Method,
        mut record: Record<T>,
    ) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let inner = TaskBody::new(inner, record.respond(&mut head));
        let body = EosBody::new(inner, head.status, &head.headers, method, record);
        Response::from_parts(head, Self(body))
    }
}

impl<B: Body, T: Span> Body for ResponseBody<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A body that is polled, and dropped, as the current request.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct TaskBody<B> {
    #[pin]
    inner: Option<B>,
    task: Task,
}

impl<B> TaskBody<B> {
    /// Polls the body inside the task that the future of the request was polled in.
    pub fn new(inner: B, task: Task) -> Self {
        Self {
            inner: Some(inner),
            task,
        }
    }
}

impl<B: Body> Body for TaskBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let _entered = this.task.enter();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[pinned_drop]
impl<B> PinnedDrop for TaskBody<B> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.task.enter_drop();
        this.inner.set(None);
    }
}
