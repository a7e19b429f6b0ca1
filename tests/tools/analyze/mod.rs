//! What two configurations, or one, mean for requests.

mod convert;
mod coverage;
mod diff;
pub(crate) mod legacy;
mod origins;
mod requests;
mod search;
