//! What is known of the workloads and services that the resources are for.

pub(super) mod known;
pub(super) mod protocol;
pub(super) mod supposed;
