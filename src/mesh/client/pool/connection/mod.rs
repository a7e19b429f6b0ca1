//! One connection: how it is opened, and how HTTP/1 and HTTP/2 keep it for later calls.

pub(in crate::mesh) mod dial;
pub(in crate::mesh) mod facts;
pub(in crate::mesh) mod http1;
pub(in crate::mesh) mod http2;
pub(in crate::mesh) mod stream;
