//! Headers that speak for somebody else: which of them a caller may send, and what the application
//! sees of them.

mod client_cert_mode;
mod edge;
pub mod forwarded_client_cert;
pub mod forwarded_for;
pub mod strip;
#[cfg(all(feature = "server", feature = "client"))]
pub(in crate::gate) mod wishes;

pub use client_cert_mode::ForwardClientCert;
pub use edge::Edge;
