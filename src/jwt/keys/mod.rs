//! Keys: parsed from JWK sets, kept on a keyring, fetched on a schedule.

mod bundle;
#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
mod changes;
mod counts;
mod fetch;
mod key;
mod key_set;
mod key_source;
mod keyring;
mod remote;
mod schedule;
mod svid_keys;
mod verifier;
mod wait;

pub use counts::Counts;
pub use fetch::{FetchError, Fetcher};
pub use key_set::{KeySet, KeySetError};
pub use key_source::KeySource;
pub(crate) use keyring::KeyOwner;
pub use keyring::{Jwks, Keyring, Moved};
pub use svid_keys::{BundleError, SvidKeys};
pub(crate) use verifier::algorithm;
pub(crate) use wait::KeyWait;
