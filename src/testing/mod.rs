//! What tests need: a throw-away PKI, a test issuer, requests with a peer and claims in place.

mod pki;

pub use pki::{Issued, Leaf, Pki, PkiError};
