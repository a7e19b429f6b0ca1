//! The guard for end-user tokens, through its layer.

mod remote;
mod support;
mod tables;
