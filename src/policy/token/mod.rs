//! Checks token rules (`jwtRules`, or an origin of 2018) before they are applied, as far as that
//! needs no cryptography. The layer that applies rules and the tools that check them call the same
//! functions.
//!
//! ```text
//! rule        one rule: its keys, its header names
//!   key_uri   where keys may be fetched
//!   key_set   a JWK set: its size, its JSON, its list
//!     jwk     one key: what it is for, whether it is strong
//!       curve whether a point is on its curve
//!       base64url, json
//! ```

mod base64url;
mod curve;
pub(crate) mod json;
mod jwk;
mod key_set;
mod key_uri;
mod rule;

#[cfg(feature = "jwt")]
pub(crate) use jwk::{Jwk, KeyPurpose, PublicKey, Unfit};
#[cfg(feature = "vet")]
pub(crate) use key_set::has_secret_key;
#[cfg(feature = "jwt")]
pub(crate) use key_set::{KeySetFault, MAX_BYTES, SpiffeBundle, keys};
pub(crate) use key_uri::PlainHttp;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use key_uri::is_loopback;
#[cfg(feature = "jwt")]
pub(crate) use key_uri::{check_key_uri, discovery_uri};
pub(crate) use rule::rule_problems;
#[cfg(any(feature = "jwt", feature = "vet"))]
pub(crate) use rule::trust_domain;
