//! The future and the body of the inbound stack.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use super::inbound::Inbound;
use super::record::Record;
use super::waiting::Waiting;
use crate::context::Exchange;
use crate::guard::panicked;
use crate::message::{
    CountingBody, End, EosBody, GuardBody, LocalReply, OnEnd as _, contained, polled_too_late,
};

/// The future of [`Server`](super::Server). It waits for the application's response, holds a
/// response that a guard made in its place, or holds a request that waits for a guard's question.
///
/// # Panics
///
/// When it is polled after it has completed.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>>,
    ReqBody: Body,
{
    #[pin]
    state: State<S, ReqBody, ResBody>,
    record: Record,
    /// Whether a refusal or a panic is answered as gRPC.
    is_grpc: bool,
}

#[pin_project(project = StateProj, project_replace = StateReplace)]
enum State<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>>,
    ReqBody: Body,
{
    Inner(#[pin] S::Future),
    /// Boxed, so that it does not enlarge the future of requests that ask no question.
    Asking(Box<Asking<S, ReqBody>>),
    Local(Response<GuardBody<ResBody>>),
    Ended,
}

/// A request that waits for a guard's question, with the ready service that will get it.
pub(super) struct Asking<S, ReqBody: Body> {
    pub(super) waiting: Waiting,
    pub(super) inbound: Arc<Inbound>,
    pub(super) exchange: Exchange,
    pub(super) head: Parts,
    pub(super) body: CountingBody<ReqBody>,
    pub(super) service: S,
}

/// Calls the application within the request's trace and contains its panics: a handler that panics
/// fails its own request alone.
pub(super) fn call<F>(record: &mut Record, call: impl FnOnce() -> F) -> thread::Result<F> {
    record.within(|| catch_unwind(AssertUnwindSafe(call)))
}

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
{
    pub(super) fn called(called: thread::Result<S::Future>, record: Record, is_grpc: bool) -> Self {
        match called {
            Ok(future) => Self {
                state: State::Inner(future),
                record,
                is_grpc,
            },
            Err(_) => Self::local(panicked(), record, is_grpc),
        }
    }

    pub(super) fn asking(asking: Asking<S, ReqBody>, record: Record, is_grpc: bool) -> Self {
        Self {
            state: State::Asking(Box::new(asking)),
            record,
            is_grpc,
        }
    }

    pub(super) fn local(reply: LocalReply, mut record: Record, is_grpc: bool) -> Self {
        Self {
            state: State::Local(refuse(reply, &mut record, is_grpc)),
            record,
            is_grpc,
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StateProj::Asking(asking) = this.state.as_mut().project() {
            let judged = {
                let Asking {
                    waiting,
                    inbound,
                    exchange,
                    head,
                    body,
                    ..
                } = &mut **asking;
                ready!(waiting.poll(cx, inbound, head, body, exchange, this.record))
            };
            let StateReplace::Asking(asking) = this.state.as_mut().project_replace(State::Ended)
            else {
                polled_too_late("ResponseFuture")
            };
            let Asking {
                head,
                body,
                mut service,
                ..
            } = *asking;
            let called = judged.map(|()| {
                let call_it = move || service.call(Request::from_parts(head, body));
                call(this.record, call_it)
            });
            this.state.set(match called {
                Ok(Ok(future)) => State::Inner(future),
                Ok(Err(_)) => State::Local(refuse(panicked(), this.record, *this.is_grpc)),
                Err(reply) => State::Local(refuse(reply, this.record, *this.is_grpc)),
            });
        }
        let mut response = match this.state.as_mut().project() {
            StateProj::Inner(_) => {
                let state = &mut this.state;
                match call(this.record, || poll_inner(state, cx)) {
                    Ok(Poll::Pending) => {
                        this.record.waits();
                        return Poll::Pending;
                    }
                    Ok(Poll::Ready(Ok(response))) => response.map(GuardBody::inner),
                    Ok(Poll::Ready(Err(error))) => {
                        this.record.end(End::failed());
                        return Poll::Ready(Err(error));
                    }
                    Err(_) => {
                        let state = &mut this.state;
                        this.record
                            .dropping(|| contained(|| state.set(State::Ended)));
                        refuse(panicked(), this.record, *this.is_grpc)
                    }
                }
            }
            _ => match this.state.as_mut().project_replace(State::Ended) {
                StateReplace::Local(response) => response,
                _ => polled_too_late("ResponseFuture"),
            },
        };
        if let Some(exchange) = this.record.exchange() {
            exchange.put_response_headers(response.headers_mut());
        }
        let answer = mem::take(this.record).answer(response);
        Poll::Ready(Ok(answer.map(ResponseBody)))
    }
}

/// Polls the application's future and drops it once it is ready, so that both run in one scope of
/// the request's trace. A panic of the drop takes the place of a response, but not of an error.
fn poll_inner<S, ReqBody, ResBody>(
    state: &mut Pin<&mut State<S, ReqBody, ResBody>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResBody>, S::Error>>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
{
    let StateProj::Inner(future) = state.as_mut().project() else {
        polled_too_late("ResponseFuture")
    };
    let polled = ready!(future.poll(cx));
    match &polled {
        Ok(_) => state.set(State::Ended),
        Err(_) => contained(|| state.set(State::Ended)),
    }
    Poll::Ready(polled)
}

/// When the caller leaves, what was made for the request is dropped within its trace.
#[pinned_drop]
impl<S, ReqBody, ResBody> PinnedDrop for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>>,
    ReqBody: Body,
{
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.record.dropping(|| this.state.set(State::Ended));
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<CountingBody<ReqBody>>>,
    ReqBody: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Answers in the application's place.
fn refuse<B>(reply: LocalReply, record: &mut Record, is_grpc: bool) -> Response<GuardBody<B>> {
    record.refused(&reply);
    reply.into_response_as(is_grpc, &record.method())
}

/// The body of [`Server`](super::Server)'s responses. It is polled within its request's trace, and
/// its end is the end of the request.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B>(#[pin] EosBody<GuardBody<B>, Record>);

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
