//! The hosts that calls may go to, their addresses, and the connections to them.
//!
//! ```text
//! URI of a call
//!  │ compiled_outbound   finds the host; unknown_host is the error
//!  │   external_host     a host outside the mesh
//!  │ ports               the host's cluster for the URI's port
//!  ▼
//! cluster                an upstream on one port: its addresses, fixed or by DNS (names)
//!  │ picker              which address takes the call
//!  ▼
//! endpoint               one address: its health, and the connections to it
//!  │ connection/         opens, keeps and retires one connection
//!  ▼
//! connect_error          why no connection could be made
//!
//! address                addresses as the builder takes them
//! connector              the same way to an address, for other HTTP clients
//! ```

pub(in crate::mesh) mod address;
mod background;
pub(in crate::mesh) mod cluster;
pub(in crate::mesh) mod compiled_outbound;
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
