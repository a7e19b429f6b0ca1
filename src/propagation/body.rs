use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http::{Method, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

use super::future::Side;
use super::span::outcome::Outcome;
use super::task::Task;
use crate::message::{End, EosBody, OnEnd, ResponseFlags};

/// The body of both layers' responses: it is polled as the current request, and its end is the end of the span.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B>(#[pin] EosBody<TaskBody<B>, Record>);

impl<B: Body> ResponseBody<B> {
    pub(super) fn wrap(
        response: Response<B>,
        method: &Method,
        mut record: Record,
    ) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let inner = TaskBody::new(inner, record.respond(&mut head));
        let body = EosBody::new(inner, head.status, &head.headers, method, record);
        Response::from_parts(head, Self(body))
    }
}

impl<B: Body> Body for ResponseBody<B> {
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

/// A span that waits for the end of a body.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) span: Option<Side>,
    pub(super) outcome: Outcome,
}

impl Record {
    fn respond(&mut self, response: &mut response::Parts) -> Task {
        if let Some(flags) = response.extensions.get::<ResponseFlags>() {
            self.outcome.flags = *flags;
        }
        match &mut self.span {
            Some(span) => span.respond(response),
            None => Task::default(),
        }
    }

    pub(super) fn end(mut self, end: &End) {
        self.outcome.grpc_status = end.grpc_status;
        self.outcome.response_bytes = end.bytes;
        self.outcome.flags = end.flags(self.outcome.flags);
        // The clock is read for recorded spans only.
        let Some(span) = self.span.filter(Side::is_recording) else {
            return;
        };
        match span {
            Side::Server(span) => span.end(&self.outcome, SystemTime::now()),
            Side::Client(span) => span.end(&self.outcome, SystemTime::now()),
        }
    }
}

impl OnEnd for Record {
    fn on_end(self, end: End) {
        self.end(&end);
    }
}
