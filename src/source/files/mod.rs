//! The files below a path: which are read, and which are skipped.

pub(super) mod passed_over;
pub(super) mod read;
