//! Proves that one record is in a trail, to somebody who has not the trail.

mod find;
mod inclusion_proof;
#[cfg(test)]
mod tests;

pub use find::{Prove, ProveError};
pub use inclusion_proof::{InclusionError, InclusionProof};
