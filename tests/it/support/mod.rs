//! What the tests of this crate share.

pub(crate) mod agent;
pub(crate) mod log;
pub(crate) mod mesh;
