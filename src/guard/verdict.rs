//! The trait of guards, and the verdicts, questions and answers that they give.

use std::sync::Arc;

use http::request::Parts;

use super::answer::catch;
use super::question::Question;
use crate::context::Exchange;
use crate::message::LocalReply;

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

/// Asks a guard, and turns its panic into a refusal.
pub(crate) fn judge<G: Guard + ?Sized>(
    guard: &G,
    head: &mut Parts,
    exchange: &Exchange,
) -> Verdict {
    catch(|| guard.judge(head, exchange)).unwrap_or_else(Verdict::Refuse)
}
