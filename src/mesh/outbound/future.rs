use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::again::{Again, Remedy};
use super::error::ClientError;
use super::record::Record;
use crate::mesh::pool::Sending;
use crate::message::EosBody;
use crate::propagation::TaskBody;

/// The future of a call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    #[pin]
    state: State,
    again: Option<Box<Again>>,
    record: Record,
    method: Method,
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
        let state = State::Sending(future);
        Self {
            state,
            again,
            record,
            method,
        }
    }

    pub(super) fn refused(error: ClientError, record: Record) -> Self {
        let state = State::Refused(Some(error));
        Self {
            state,
            again: None,
            record,
            method: Method::GET,
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
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
                            let record = mem::take(this.record);
                            return Poll::Ready(Ok(ResponseBody::wrap(
                                response,
                                this.method,
                                record,
                            )));
                        }
                        Err(error) => ClientError::hyper(error),
                    };
                    let Some(again) = this.again.take() else {
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
        mem::take(this.record).failed(&error);
        Poll::Ready(Err(error))
    }
}

/// The body of a call's response; its end is the end of the call.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody(#[pin] EosBody<TaskBody<Incoming>, Record>);

impl ResponseBody {
    fn wrap(response: Response<Incoming>, method: &Method, mut record: Record) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let inner = TaskBody::new(inner, record.answered(&mut head));
        let body = EosBody::new(inner, head.status, &head.headers, method, record);
        Response::from_parts(head, Self(body))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
