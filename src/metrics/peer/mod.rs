//! Both ends of a call as labels name them: what we are, what a peer proves, what it says.

pub(in crate::metrics) mod descriptions;
pub(in crate::metrics) mod local_labels;
pub(in crate::metrics) mod memo;
pub(in crate::metrics) mod metadata;
pub(in crate::metrics) mod peers;
pub(in crate::metrics) mod service_name;
mod wire;
