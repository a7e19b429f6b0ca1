//! The trait of guards, and the verdicts, questions and answers that they give.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use http::request::Parts;

use crate::context::Exchange;
use crate::message::{GrpcStatus, LocalReply, polled_too_late};

/// Decides whether a request may reach the service behind it.
///
/// A guard answers at once, or asks a question: it returns a future, and the request waits for its
/// answer.
///
/// A guard may read the exchange and change the head. It must then judge what it has changed. It
/// never sees the body.
///
/// # Panics in callbacks
///
/// If a guard, a question or a change panics, its request is refused with 500 and the details
/// `handler_panicked`. Other requests continue, including those on the same connection. With `panic
/// = "abort"` the process ends, as always.
pub trait Guard {
    /// Judges a request by its head.
    ///
    /// This runs in the task of the connection and must not block. Return a [`Question`] for
    /// anything that takes time.
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict;
}

impl<G: Guard + ?Sized> Guard for Arc<G> {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        (**self).judge(head, exchange)
    }
}

impl<G: Guard + ?Sized> Guard for Box<G> {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        (**self).judge(head, exchange)
    }
}

/// The verdict of a [`Guard`] on a request.
#[derive(Debug)]
#[must_use = "a verdict that is dropped refuses nothing"]
pub enum Verdict {
    /// The request goes on.
    Pass,
    /// The guard answers in the application's place.
    Refuse(LocalReply),
    /// The request waits for the answer to this question.
    Ask(Question),
}

impl From<Result<(), LocalReply>> for Verdict {
    fn from(result: Result<(), LocalReply>) -> Self {
        match result {
            Ok(()) => Self::Pass,
            Err(reply) => Self::Refuse(reply),
        }
    }
}

/// The result of a [`Question`] about the request that waits.
#[must_use = "an answer that is dropped refuses nothing"]
pub enum Answer {
    /// The request goes on.
    Pass,
    /// The guard answers in the application's place.
    Refuse(LocalReply),
    /// This function changes the request, which then goes on, or returns the reply that refuses it.
    Change(Box<Change>),
}

/// Changes a request after its question was answered; for example, adds headers that a provider
/// wants the application to see.
///
/// It runs after the rules. Nothing judges or cleans what it writes: a changed target, host or
/// identity header reaches the application as it is.
pub type Change = dyn FnOnce(&mut Parts, &Exchange) -> Result<(), LocalReply> + Send;

impl Answer {
    /// Lets the request go on once `change` has changed it.
    pub fn change(
        change: impl FnOnce(&mut Parts, &Exchange) -> Result<(), LocalReply> + Send + 'static,
    ) -> Self {
        Self::Change(Box::new(change))
    }

    /// Applies the answer to the request that has waited.
    pub(crate) fn apply(self, head: &mut Parts, exchange: &Exchange) -> Result<(), LocalReply> {
        match self {
            Self::Pass => Ok(()),
            Self::Refuse(reply) => Err(reply),
            Self::Change(change) => catch(|| change(head, exchange)).unwrap_or_else(Err),
        }
    }
}

impl From<Result<(), LocalReply>> for Answer {
    fn from(result: Result<(), LocalReply>) -> Self {
        match result {
            Ok(()) => Self::Pass,
            Err(reply) => Self::Refuse(reply),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Refuse(reply) => f.debug_tuple("Refuse").field(reply).finish(),
            Self::Change(_) => f.write_str("Change"),
        }
    }
}

/// The future that a request waits for.
///
/// It is polled in the request's task, so calls that it makes belong to the request's trace. It is
/// dropped when the caller disconnects. It has no timeout of its own: the wait ends when the future
/// ends, when the caller disconnects, or when the grace period of a shutdown ends. Give it one: over
/// HTTP/1 the server does not notice a caller that disconnects after it has sent more of its body
/// than one piece, because nobody reads the connection while the request waits.
#[must_use = "a question asks nothing unless a guard returns it"]
pub struct Question(Kind);

/// The kinds of questions. The crate's own futures can become variants here, which need no box.
enum Kind {
    Boxed(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Answered,
}

impl Question {
    /// A question from any future. Boxing the future is the only allocation that a question needs.
    pub fn new(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self(Kind::Boxed(Box::pin(future)))
    }
}

impl Future for Question {
    type Output = Answer;

    /// A panic of the future, when it is polled or dropped, refuses the request.
    ///
    /// # Panics
    ///
    /// When it is polled after it was answered.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let polled = match &mut self.0 {
            Kind::Boxed(future) => catch(|| future.as_mut().poll(cx)),
            Kind::Answered => polled_too_late("Question"),
        };
        let answer = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => Ok(answer),
            Err(reply) => Err(reply),
        };
        let dropped = catch(|| self.0 = Kind::Answered);
        Poll::Ready(match answer.and_then(|answer| dropped.map(|()| answer)) {
            Ok(answer) => answer,
            Err(reply) => Answer::Refuse(reply),
        })
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

/// Asks a guard, and turns its panic into a refusal.
pub(crate) fn judge<G: Guard + ?Sized>(
    guard: &G,
    head: &mut Parts,
    exchange: &Exchange,
) -> Verdict {
    catch(|| guard.judge(head, exchange)).unwrap_or_else(Verdict::Refuse)
}

/// Turns a panic into a refusal of the one request that caused it.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, LocalReply> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| panicked())
}

/// The answer to a request whose guard or handler panicked.
pub(crate) fn panicked() -> LocalReply {
    LocalReply::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error",
        "handler_panicked",
    )
    .grpc_status(GrpcStatus::INTERNAL)
}
