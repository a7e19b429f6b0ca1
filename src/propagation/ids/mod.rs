//! Random ids, and their digits.

pub(super) mod hex;
pub(super) mod random;
pub(super) mod text;
