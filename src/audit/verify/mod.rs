//! Says whether a trail is whole, or which record is the first bad one and what is wrong with it.

mod classify;
mod fault;
mod links;
mod report;
mod run;
mod seals;
mod state;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

pub use fault::{Fault, FaultKind};
pub use report::{GapNote, OpenIntent, StreamNote, VerifyReport};
pub use run::{Verify, VerifyError};
pub(crate) use state::Pruned;
pub(crate) use stream::signature_fault;
pub(crate) use walk::{Walk, by_stream};
