//! One connection: opens it, and keeps it for later calls over HTTP/1 and HTTP/2.
//!
//! ```text
//! http1, http2    keep connections for later calls
//!   origin        whether a connection was open before its call, and what its failure means
//!   retirement    when a connection takes no more calls: its age, a new identity, no use
//!   broken        how one broke under a call
//!   dial          opens TCP, and TLS on it
//!     stream      the bytes of a connection; notes its age (judged in tls/connection/lifetime)
//! ```

pub(in crate::mesh::client) mod broken;
pub(in crate::mesh) mod dial;
pub(in crate::mesh) mod http1;
pub(in crate::mesh) mod http2;
pub(in crate::mesh) mod origin;
pub(in crate::mesh) mod retirement;
pub(in crate::mesh) mod stream;
