use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::Authority;
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::error::ClientError;
use super::head_timeout::HeadTimeout;
use super::pool::pools::Sending;
use super::record::Record;
use super::resend::{Again, Remedy};
use crate::message::EosBody;
use crate::propagation::TaskBody;

/// The future of a call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    #[pin]
    state: State,
    #[pin]
    timeout: HeadTimeout,
    again: Option<Box<Again>>,
    record: Record,
    method: Method,
    /// For errors.
    authority: Option<Authority>,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State {
    Sending(#[pin] Sending),
    /// Nothing of it was touched: to be sent again, once its body is back.
    Again(Box<Again>, Option<ClientError>),
    Refused(Option<ClientError>),
}

impl ResponseFuture {
    pub(super) fn sending(
        future: Sending,
        again: Option<Box<Again>>,
        record: Record,
        method: Method,
    ) -> Self {
        Self {
            state: State::Sending(future),
            timeout: HeadTimeout::never(),
            again,
            record,
            method,
            authority: None,
        }
    }

    /// Whom the call is to.
    pub(super) fn to(mut self, authority: Option<Authority>) -> Self {
        self.authority = authority;
        self
    }

    pub(super) fn within(mut self, timeout: HeadTimeout) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn refused(error: ClientError, record: Record) -> Self {
        Self {
            state: State::Refused(Some(error)),
            timeout: HeadTimeout::never(),
            again: None,
            record,
            method: Method::GET,
            authority: None,
        }
    }

    /// A call that cannot be described, so that there is nothing to record.
    pub(super) fn mistaken(error: ClientError) -> Self {
        Self::refused(error, Record::default())
    }

    fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody>, ClientError>> {
        let mut this = self.project();
        let error = loop {
            match this.state.as_mut().project() {
                StateProj::Sending(future) => {
                    let polled = {
                        let _entered = this.record.enter();
                        ready!(future.poll(cx))
                    };
                    let error = match polled {
                        Ok(response) => {
                            this.state.set(State::Refused(None));
                            let record = mem::take(this.record);
                            return Poll::Ready(Ok(ResponseBody::wrap(
                                response,
                                this.method,
                                record,
                            )));
                        }
                        Err(error) => ClientError::hyper(this.authority.as_ref(), error),
                    };
                    let Some(mut again) = this.again.take() else {
                        break error;
                    };
                    match again.remedy(&error) {
                        Remedy::None => break error,
                        Remedy::Tell(reason) => break reason,
                        Remedy::Send => this.state.set(State::Again(again, Some(error))),
                    }
                }
                StateProj::Again(again, error) => match ready!(again.poll_send(cx)) {
                    Some((sending, again)) => {
                        *this.again = Some(again);
                        this.state.set(State::Sending(sending));
                    }
                    None => match error.take() {
                        Some(error) => break error,
                        None => return Poll::Pending,
                    },
                },
                StateProj::Refused(error) => match error.take() {
                    Some(error) => break error,
                    None => return Poll::Pending,
                },
            }
        };
        Poll::Ready(Err(error))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.as_mut().poll_call(cx);
        let mut this = self.project();
        let result = match polled {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let over = ready!(this.timeout.as_mut().poll_over(cx));
                // Dropping what was sent cancels it at the server.
                this.state.set(State::Refused(None));
                *this.again = None;
                Err(ClientError::timeout(this.authority.as_ref(), over))
            }
        };
        // Polled once more, it waits for ever.
        this.timeout.set(HeadTimeout::never());
        if let Err(error) = &result {
            mem::take(this.record).failed(error);
        }
        Poll::Ready(result)
    }
}

/// The body of a call's response; its end is the end of the call.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody {
    #[pin]
    inner: EosBody<TaskBody<Incoming>, Record>,
    pub(super) limit: usize,
}

impl ResponseBody {
    fn wrap(response: Response<Incoming>, method: &Method, mut record: Record) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let inner = TaskBody::new(inner, record.answered(&mut head));
        let inner = EosBody::new(inner, head.status, &head.headers, method, record);
        let limit = LIMIT;
        Response::from_parts(head, Self { inner, limit })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is read of a body at most when it is read whole.
pub(super) const LIMIT: usize = 2 * 1024 * 1024;
