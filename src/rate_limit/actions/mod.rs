//! Makes the descriptors of a request.
//!
//! ```text
//! write     the actions of one descriptor, run for one request
//! value     what each action reads of a request
//! buffer    a short text without an allocation
//! ```

mod buffer;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use write::{Actions, LimitRequest, Made, Sink};
