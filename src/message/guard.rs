use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Method, Response};
use pin_project::pin_project;

use super::{GuardBody, LocalReply};

/// The future of a guard: the inner service's, or a refusal that is ready at once. The inner service is not called when a guard refuses.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct GuardFuture<F, B>(#[pin] State<F, B>);

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F, B> {
    Inner(#[pin] F),
    Refused(Option<Response<GuardBody<B>>>),
}

impl<F, B> GuardFuture<F, B> {
    /// Passes on what the inner service answers.
    pub fn inner(future: F) -> Self {
        Self(State::Inner(future))
    }

    /// Answers a request with this method and these headers with a local reply.
    pub fn refused(reply: LocalReply, method: &Method, headers: &HeaderMap) -> Self {
        Self(State::Refused(Some(reply.into_response(method, headers))))
    }
}

impl<F, B, E> Future for GuardFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GuardBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            StateProj::Inner(future) => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(GuardBody::inner)))
            }
            StateProj::Refused(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}
