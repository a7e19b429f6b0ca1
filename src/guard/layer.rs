//! Puts a guard in front of a service, as a tower layer.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::question::Question;
use super::verdict::{Guard, Verdict, judge};
use crate::context::Exchange;
use crate::message::{GuardBody, LocalReply, polled_too_late};
use crate::refusal_log;

/// Puts a [`Guarded`] in front of a service: it asks one guard.
#[derive(Clone, Debug)]
pub struct GuardLayer<G> {
    guard: G,
}

impl<G> GuardLayer<G> {
    /// A layer that asks this guard. Wrap a guard that is expensive to clone in an `Arc`.
    #[must_use]
    pub fn new(guard: G) -> Self {
        Self { guard }
    }
}

impl<S, G: Clone> Layer<S> for GuardLayer<G> {
    type Service = Guarded<S, G>;

    fn layer(&self, inner: S) -> Guarded<S, G> {
        Guarded::new(inner, self.guard.clone())
    }
}

/// Asks a guard before it calls the inner service, and answers in its place if the guard refuses.
///
/// The inner service must be `Clone`. When a guard asks a question, the ready service moves into
/// the future of the request and a clone takes its place; it is cloned only then. A refusal stores
/// its [details](Exchange::details) in the exchange and writes one log event, target
/// `tower_mesh::access`.
#[derive(Clone, Debug)]
pub struct Guarded<S, G> {
    inner: S,
    guard: G,
}

impl<S, G> Guarded<S, G> {
    /// Puts a guard in front of a service.
    pub fn new(inner: S, guard: G) -> Self {
        Self { inner, guard }
    }

    /// The service behind the guard.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind the guard, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service without its guard.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, G, ReqBody, ResBody> Service<Request<ReqBody>> for Guarded<S, G>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    G: Guard,
{
    type Response = Response<GuardBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::from_request(&mut head);
        let state = match judge(&self.guard, &mut head, &exchange) {
            Verdict::Pass => State::Inner(self.inner.call(Request::from_parts(head, body))),
            Verdict::Refuse(reply) => State::Refused(refuse(reply, &head, &exchange)),
            Verdict::Ask(question) => {
                let clone = self.inner.clone();
                State::Asking(Box::new(Asking {
                    question,
                    request: Request::from_parts(head, body),
                    // INVARIANT: this service is ready; its clone may not be.
                    service: mem::replace(&mut self.inner, clone),
                    exchange: exchange.clone(),
                }))
            }
        };
        ResponseFuture {
            state,
            with_headers: exchange.has_response_headers().then_some(exchange),
        }
    }
}

fn refuse<B>(reply: LocalReply, head: &Parts, exchange: &Exchange) -> Response<GuardBody<B>> {
    exchange.set_details(reply.details().clone());
    refusal_log::refused(head, exchange, &reply, refusal_log::judged_by(head));
    reply.into_response(&head.method, &head.headers)
}

/// The future of [`Guarded`]: the inner service's future, a refusal that is ready at once, or a
/// request that waits for an answer to become one of these. The inner service is not called if a
/// guard refuses.
///
/// # Panics
///
/// When it is polled after it has ended.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    #[pin]
    state: State<S, ReqBody, ResBody>,
    /// Where the guard has set headers of the response.
    with_headers: Option<Exchange>,
}

#[pin_project(project = StateProj, project_replace = StateReplace)]
enum State<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    Inner(#[pin] S::Future),
    /// Boxed, so that requests without a question have a small future.
    Asking(Box<Asking<S, ReqBody>>),
    Refused(Response<GuardBody<ResBody>>),
    Ended,
}

/// A request that waits for the answer to a question, and the ready service that it goes to next.
struct Asking<S, ReqBody> {
    question: Question,
    request: Request<ReqBody>,
    service: S,
    exchange: Exchange,
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<GuardBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        if let StateProj::Asking(asking) = state.as_mut().project() {
            let answer = ready!(Pin::new(&mut asking.question).poll(cx));
            let StateReplace::Asking(asking) = state.as_mut().project_replace(State::Ended) else {
                polled_too_late("ResponseFuture")
            };
            let Asking {
                request,
                mut service,
                exchange,
                ..
            } = *asking;
            let (mut head, body) = request.into_parts();
            let applied = answer.apply(&mut head, &exchange);
            state.set(match applied {
                Ok(()) => State::Inner(service.call(Request::from_parts(head, body))),
                Err(reply) => State::Refused(refuse(reply, &head, &exchange)),
            });
            *this.with_headers = exchange.has_response_headers().then_some(exchange);
        }
        let mut response = if let StateProj::Inner(future) = state.as_mut().project() {
            ready!(future.poll(cx))?.map(GuardBody::inner)
        } else if let StateReplace::Refused(response) = state.project_replace(State::Ended) {
            response
        } else {
            polled_too_late("ResponseFuture")
        };
        if let Some(exchange) = this.with_headers {
            exchange.put_response_headers(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
