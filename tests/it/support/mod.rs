//! What the tests of this crate share.

pub(crate) mod log;
pub(crate) mod mesh;
