//! What tests need: a throw-away PKI, a test issuer, requests with a peer and claims in place.

mod issuer;
mod pki;

pub use issuer::{Issuer, Token};
pub use pki::{Issued, Leaf, Pki, PkiError};
