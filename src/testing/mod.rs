//! What tests need: a throw-away PKI, a test issuer, requests with a peer and claims in place.

mod certificate;
mod issuer;
mod jwks_server;
mod pki;

pub use certificate::{Authority, Leaf};
pub use issuer::{Issuer, Token};
pub use jwks_server::JwksServer;
pub use pki::{Issued, Pki, PkiError};
