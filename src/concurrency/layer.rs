//! A concurrency limit as a tower layer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::held::Held;
use super::limiter::Limiter;
use super::options::ConcurrencyLimit;
use super::refusal;
use super::stats::ConcurrencyStats;
use crate::context::Exchange;
use crate::message::{GuardBody, polled_too_late};
use crate::refusal_log;

/// Applies [`ConcurrencyLimited`]. Clones share the limit, and so do all services that they make.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer(Arc<Limiter>);

impl ConcurrencyLimitLayer {
    /// A layer with this limit.
    #[must_use]
    pub fn new(limit: &ConcurrencyLimit) -> Self {
        Self(Arc::new(Limiter::new(limit)))
    }

    /// What the limit does at present.
    #[must_use]
    pub fn stats(&self) -> ConcurrencyStats {
        ConcurrencyStats(Arc::clone(&self.0))
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimited<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimited<S> {
        ConcurrencyLimited {
            inner,
            limiter: Arc::clone(&self.0),
        }
    }
}

/// Answers requests over the limit with 503, in front of the inner service.
///
/// A request is under way until the body of its response has ended or is dropped. A request that
/// upgrades its connection is under way until the connection of its [`Peer`](crate::Peer) is gone;
/// without a peer, until its response is sent.
///
/// To an [adaptive](ConcurrencyLimit::adaptive) limit the inner service is the application, with all
/// layers inside: put guards that wait for others outside.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimited<S> {
    inner: S,
    limiter: Arc<Limiter>,
}

impl<S> ConcurrencyLimited<S> {
    /// The service behind the limit.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind the limit, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service without its limit.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ConcurrencyLimited<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::from_request(&mut head);
        let path = exchange.path_of(&head).unwrap_or_else(|| head.uri.path());
        let permit = match self.limiter.exempts(path) {
            true => None,
            false => match self.limiter.admit() {
                Some(mut permit) => {
                    permit.called();
                    Some(permit)
                }
                None => return ResponseFuture(State::Refused(refuse(&head, &exchange))),
            },
        };
        // Nothing else is an upgrade (RFC 9113 §8.6), whatever status an application answers with.
        let peer = exchange.peer().filter(|_| head.version < Version::HTTP_2);
        let held = Held::new(permit, peer);
        let future = self.inner.call(Request::from_parts(head, body));
        ResponseFuture(State::Inner { future, held })
    }
}

fn refuse<B>(head: &Parts, exchange: &Exchange) -> Response<GuardBody<B>> {
    let reply = refusal::overflow();
    exchange.set_details(Arc::clone(reply.details()));
    refusal_log::refused(head, exchange, &reply, refusal_log::judged_by(head));
    reply.into_response(&head.method, &head.headers)
}

/// The future of [`ConcurrencyLimited`].
///
/// # Panics
///
/// When it is polled after it has ended.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, B>(#[pin] State<F, B>);

#[pin_project(project = StateProj, project_replace = StateReplace)]
enum State<F, B> {
    Inner {
        #[pin]
        future: F,
        held: Held,
    },
    Refused(Response<GuardBody<B>>),
    Ended,
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().0;
        let answered = match state.as_mut().project() {
            StateProj::Inner { future, .. } => Some(ready!(future.poll(cx))),
            StateProj::Refused(_) | StateProj::Ended => None,
        };
        let (response, held) = match (state.project_replace(State::Ended), answered) {
            (StateReplace::Inner { mut held, .. }, Some(answered)) => {
                let response = answered?.map(GuardBody::inner);
                held.answered(response.status(), response.headers());
                (response, held)
            }
            (StateReplace::Refused(response), _) => (response, Held::default()),
            _ => polled_too_late("ResponseFuture"),
        };
        let with_permit = |inner| ResponseBody { inner, held };
        Poll::Ready(Ok(response.map(with_permit)))
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// The body of [`ConcurrencyLimited`]'s responses. The request is under way until this body has
/// ended or is dropped.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B> {
    #[pin]
    inner: GuardBody<B>,
    held: Held,
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = ready!(this.inner.as_mut().poll_frame(cx));
        let is_over = !matches!(polled, Some(Ok(_))) || this.inner.is_end_stream();
        if is_over {
            this.held.end();
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
