//! Rate limits.

mod actions;
mod bucket;
mod candidates;
mod counts;
mod headers;
mod key;
mod local;
mod refusal;
mod table;
