//! Files below a path: which are read, and which are passed over.

pub(super) mod passed_over;
pub(super) mod read;
