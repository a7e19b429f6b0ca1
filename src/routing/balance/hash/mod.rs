//! Hashes: of a call's values, and of hosts.

mod key;
mod xxh64;

pub use key::HashKey;
pub(crate) use xxh64::xxh64;
