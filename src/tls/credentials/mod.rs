//! The identity in use, and how the certificates of peers are judged by it.
//!
//! ```text
//! danger         ways around the rules, in the terms of rustls
//! rotation       puts each identity of a source to use
//!   rotation_stats counters of that, read for metrics
//!   in_use       `Credentials`: the identity that the next handshake uses
//!     generation one identity, made ready for handshakes
//!       own_resolver   certificates that the application's resolvers yield
//!       verifier       judges a peer's chain by SPIFFE's rules
//!         unsigned     names the issuer that a chain lacks
//!       rustls_verifier  a judge of chains as rustls asks for one
//!       settings       cryptography, versions, clock
//! ```

pub(super) mod danger;
pub(super) mod generation;
pub(super) mod in_use;
pub(super) mod own_resolver;
pub(super) mod rotation;
pub(super) mod rotation_stats;
pub(super) mod rustls_verifier;
pub(super) mod settings;
pub(super) mod unsigned;
mod verifier;
