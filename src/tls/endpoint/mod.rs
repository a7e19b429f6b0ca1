//! Both ends of a handshake: what accepts connections, and what opens them.
//!
//! ```text
//! axum_listener, tonic_incoming   a listener for the servers of axum and tonic
//!   listener       takes connections from a socket
//!     socket       which is of TCP, or in the file system
//!     incoming     one of them, before its handshake
//!       refusal_observer  learns of those that are refused
//!       acceptor   makes the handshake of a server
//!         proxy_protocol   what a trusted proxy says at the start of a connection
//!       admission  how many connections and handshakes there may be at once
//! connector        makes the handshake of a client of the mesh
//! one_way          TLS to a server outside the mesh
//!   handshake      the error, and the facts that a handshake leaves
//! ```

pub(super) mod acceptor;
pub(super) mod admission;
#[cfg(feature = "axum")]
mod axum_listener;
pub(super) mod connector;
pub(super) mod handshake;
pub(super) mod incoming;
pub(super) mod listener;
pub(super) mod one_way;
pub mod proxy_protocol;
pub(super) mod refusal_observer;
pub(super) mod socket;
#[cfg(feature = "tonic")]
mod tonic_incoming;
