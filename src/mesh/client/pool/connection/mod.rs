//! One connection: opens it, and keeps it for later calls over HTTP/1 and HTTP/2.

pub(in crate::mesh) mod dial;
pub(in crate::mesh) mod facts;
pub(in crate::mesh) mod http1;
pub(in crate::mesh) mod http2;
pub(in crate::mesh) mod origin;
pub(in crate::mesh) mod stream;
