//! Loads texts as resources: finds the kind of each document, and checks all of them together.

pub(super) mod embedded;
pub(super) mod kind;
pub(super) mod loader;
pub(super) mod slip;
#[cfg(feature = "routing")]
mod traffic;
pub(super) mod unique;
