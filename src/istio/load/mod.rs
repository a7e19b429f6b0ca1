//! From texts to resources: which document is of which kind, and what all of them say together.

pub(super) mod embedded;
pub(super) mod kind;
pub(super) mod loader;
pub(super) mod slip;
pub(super) mod unique;
