//! One served connection: a hardened hyper server, which knows its limits and no mesh.
//!
//! ```text
//! bind                 the socket that connections come from
//! limits               the bounds of a connection, and hyper's builder with them
//! drain                ends the connection: its age, a new identity, a shutdown
//!   io                 closes it when its client is too slow to send or to read
//!     linger           reads on for a moment once our side is closed
//!   service            counts its requests, and adds `connection: close` at the end
//!     served_body      bounds the client's pauses in a request's body
//!       quiet_streams  which gRPC streams may pause longer
//!     stream_timeout   resets an HTTP/2 stream whose client does not read
//! state                what all of these know of one another
//! ```

pub(in crate::mesh) mod bind;
pub(in crate::mesh) mod drain;
pub(in crate::mesh) mod io;
pub(in crate::mesh) mod limits;
mod linger;
mod never;
pub(in crate::mesh) mod quiet_streams;
pub(in crate::mesh) mod served_body;
pub(in crate::mesh) mod service;
pub(in crate::mesh) mod state;
pub(in crate::mesh) mod stream_timeout;
