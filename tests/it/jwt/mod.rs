//! The guard for end-user tokens, through its layer.

mod attacks;
mod legacy;
mod remote;
mod support;
mod tables;
mod vectors;
