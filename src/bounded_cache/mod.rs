//! A cache that is bounded in entries and in bytes, and is read without locks.

mod ways;
pub(crate) mod weight;

pub(crate) use ways::{BoundedCache, Look, Standing};
