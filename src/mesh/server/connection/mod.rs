//! One served connection: a hardened hyper server, which knows its limits and no mesh.

pub(in crate::mesh) mod bind;
pub(in crate::mesh) mod drain;
pub(in crate::mesh) mod io;
pub(in crate::mesh) mod limits;
mod never;
pub(in crate::mesh) mod quiet_streams;
pub(in crate::mesh) mod served_body;
pub(in crate::mesh) mod service;
pub(in crate::mesh) mod state;
pub(in crate::mesh) mod stream_timeout;
