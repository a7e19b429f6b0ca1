use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, Response, response};
use http_body::Body;
use pin_project::{pin_project, pinned_drop};

use super::body::{Record, ResponseBody};
use super::inbound::ServerSpan;
use super::outbound::ClientSpan;
use super::span::outcome::Outcome;
use super::task::Task;
use crate::message::End;

/// The future of both layers: it polls the service inside as the current request, and hands the span to the body of the response.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    /// `None` once it has answered.
    #[pin]
    inner: Option<F>,
    span: Option<Side>,
    method: Method,
    request_bytes: u64,
}

/// The span of either side.
#[derive(Debug)]
pub(super) enum Side {
    Server(ServerSpan),
    Client(ClientSpan),
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, span: Side, method: Method, request_bytes: u64) -> Self {
        Self {
            inner: Some(inner),
            span: Some(span),
            method,
            request_bytes,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = {
            let _entered = this.span.as_mut().map(|span| span.task().enter());
            let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            let polled = ready!(inner.poll(cx));
            this.inner.set(None);
            polled
        };
        let span = this.span.take();
        let record = |status| Record {
            span,
            outcome: Outcome {
                status,
                request_bytes: *this.request_bytes,
                ..Outcome::default()
            },
        };
        Poll::Ready(match polled {
            Ok(response) => {
                let record = record(Some(response.status()));
                Ok(ResponseBody::wrap(response, this.method, record))
            }
            Err(error) => {
                record(None).end(&End::failed());
                Err(error)
            }
        })
    }
}

#[pinned_drop]
impl<F> PinnedDrop for ResponseFuture<F> {
    /// Drops what a handler leaves behind as the request it belongs to, then the span, which ends.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.span.as_mut().and_then(|span| span.task().enter_drop());
        this.inner.set(None);
    }
}

impl Side {
    pub(super) fn task(&mut self) -> &mut Task {
        match self {
            Self::Server(span) => span.task(),
            Self::Client(span) => span.task(),
        }
    }

    pub(super) fn respond(&mut self, response: &mut response::Parts) -> Task {
        match self {
            Self::Server(span) => span.respond(response),
            Self::Client(span) => span.respond(response),
        }
    }

    pub(super) fn is_recording(&self) -> bool {
        match self {
            Self::Server(span) => span.is_recording(),
            Self::Client(span) => span.is_recording(),
        }
    }
}
