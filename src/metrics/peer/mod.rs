//! The labels of both ends of a call: this workload's own, those that a peer proves, and those of
//! the metadata that it sends.

pub(in crate::metrics) mod descriptions;
pub(in crate::metrics) mod local_labels;
pub(in crate::metrics) mod local_metadata;
pub(in crate::metrics) mod memo;
pub(in crate::metrics) mod metadata;
pub(in crate::metrics) mod peers;
pub(in crate::metrics) mod service_name;
mod wire;
