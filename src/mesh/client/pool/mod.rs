//! The hosts that calls may go to, their addresses, and the connections to them.

pub(in crate::mesh) mod address;
mod background;
pub(in crate::mesh) mod cluster;
pub(in crate::mesh) mod connect_error;
pub(in crate::mesh) mod connection;
pub(in crate::mesh) mod connector;
pub(in crate::mesh) mod endpoint;
pub(in crate::mesh) mod external_host;
mod health;
pub(in crate::mesh) mod names;
mod picker;
pub(in crate::mesh) mod ports;
pub(in crate::mesh) mod unknown_host;
pub(in crate::mesh) mod upstreams;
