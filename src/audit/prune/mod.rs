//! Removes old segments, and leaves a record of what was removed.

mod ends;
mod error;
mod run;
#[cfg(test)]
mod tests;

pub use error::PruneError;
pub use run::{Prune, PruneReport};
