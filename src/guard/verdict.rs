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
/// A guard answers at once, or asks: then it gives a future, and the request waits for its answer.
///
/// A guard may read the exchange and change the head, and then judges what it has changed. It never
/// sees the body.
///
/// # Panics in callbacks
///
/// A guard, a question or a change that panics refuses its request with 500 and the details
/// `handler_panicked`. Other requests, also those of the same connection, go on. With `panic =
/// "abort"` the process ends, as always.
pub trait Guard {
    /// Judges a request by its head.
    ///
    /// Runs on the request path, in the task of the connection: it must not block. Give what takes
    /// time as a [`Question`].
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

/// What a [`Guard`] says of a request.
#[derive(Debug)]
#[must_use = "a verdict that is dropped refuses nothing"]
pub enum Verdict {
    /// The request goes on.
    Pass,
    /// The guard answers in the application's place.
    Refuse(LocalReply),
    /// The request waits until this is answered.
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

/// What a [`Question`] learned about the request that waits.
#[must_use = "an answer that is dropped refuses nothing"]
pub enum Answer {
    /// The request goes on.
    Pass,
    /// The guard answers in the application's place.
    Refuse(LocalReply),
    /// The request goes on once this has changed it, or is refused with the reply that this gives.
    Change(Box<Change>),
}

/// Changes a request whose guard has been answered: adds the headers that a provider wants the
/// application to see, say.
pub type Change = dyn FnOnce(&mut Parts, &Exchange) -> Result<(), LocalReply> + Send;

impl Answer {
    /// Lets the request go on once `change` has changed it.
    pub fn change(
        change: impl FnOnce(&mut Parts, &Exchange) -> Result<(), LocalReply> + Send + 'static,
    ) -> Self {
        Self::Change(Box::new(change))
    }

    /// Does what the answer says to the request that has waited.
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
/// It is polled in the request's task, so that its calls belong to the request's trace. When the
/// caller goes away, it is dropped. It has no deadline but its own: the caller, a shutdown's grace
/// period, and what the future itself says end the wait.
#[must_use = "a question asks nothing unless a guard returns it"]
pub struct Question(Kind);

/// The futures that guards ask with. One of the crate's own gets a variant, and then costs no box.
enum Kind {
    Boxed(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Answered,
}

impl Question {
    /// A question of any kind: boxes the future, the one allocation that a question needs by
    /// itself.
    pub fn new(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self(Kind::Boxed(Box::pin(future)))
    }
}

impl Future for Question {
    type Output = Answer;

    /// A future that panics, while it runs or while it is dropped, refuses the request.
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

/// Asks a guard that may panic.
pub(crate) fn judge<G: Guard + ?Sized>(
    guard: &G,
    head: &mut Parts,
    exchange: &Exchange,
) -> Verdict {
    catch(|| guard.judge(head, exchange)).unwrap_or_else(Verdict::Refuse)
}

/// A panic becomes the refusal of the one request that it was met for.
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
