//! Where calls go: the hosts that may be called, their addresses, and the connections to them.

pub(in crate::mesh) mod address;
pub(in crate::mesh) mod connect_error;
pub(in crate::mesh) mod connector;
pub(in crate::mesh) mod external_host;
pub(in crate::mesh) mod failures;
pub(in crate::mesh) mod names;
pub(in crate::mesh) mod pools;
pub(in crate::mesh) mod retired;
pub(in crate::mesh) mod unknown_host;
pub(in crate::mesh) mod upstreams;
