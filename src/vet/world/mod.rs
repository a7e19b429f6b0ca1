//! The known workloads and services, and which resources select them.

pub(super) mod known;
pub(super) mod protocol;
pub(super) mod supposed;
