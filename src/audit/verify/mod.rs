//! Says whether a trail is whole, or which record is the first bad one and what is wrong with it.

mod classify;
mod fault;
mod links;
mod removed;
mod report;
mod run;
mod seals;
mod signed;
mod state;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod walk;

pub use fault::{Fault, FaultKind};
pub use report::{GapNote, OpenIntent, PrunedNote, StreamNote, VerifyReport};
pub use run::{Verify, VerifyError};
pub(crate) use signed::signature_fault;
pub(crate) use state::Pruned;
pub(crate) use walk::{Walk, by_stream};
