//! What identities are made of, and what they may be.
//!
//! ```text
//! svid           our certificate chain and key, read from PEM or DER
//!   bundle       the roots and revocation lists of each trust domain
//!     leaf       what a leaf certificate says, and SPIFFE's rules for it
//!     pem        reads PEM text and loses no byte of it
//!     error      why an identity cannot be used
//!       location    the file and line where it was read
//! allowed        the ids that may answer a call
//! ```

pub(super) mod allowed;
pub(super) mod bundle;
pub(super) mod error;
pub(super) mod leaf;
mod location;
mod pem;
pub(super) mod svid;
