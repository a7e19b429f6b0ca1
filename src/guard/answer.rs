//! The answers to questions, and what becomes of a request whose guard panics.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::StatusCode;
use http::request::Parts;

use crate::context::Exchange;
use crate::message::{GrpcStatus, LocalReply};

/// The result of a [`Question`](super::Question) about the request that waits.
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

/// Turns a panic into a refusal of the one request that caused it.
pub(super) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, LocalReply> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| panicked())
}

/// The answer to a request whose guard or handler panicked.
pub(crate) fn panicked() -> LocalReply {
    internal_error("handler_panicked")
}

/// A reply to a request that a fault of the program stopped.
pub(super) fn internal_error(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", details)
        .grpc_status(GrpcStatus::INTERNAL)
}
