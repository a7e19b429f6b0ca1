//! The scalars of a record: times and hashes.

mod hash;
mod time;

pub(crate) use hash::{Hash, hex, hex_of, parse_hash, sha256};
pub use time::parse_time;
pub(crate) use time::{Timestamp, parse_timestamp};
