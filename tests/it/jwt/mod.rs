//! The guard for end-user tokens, through its layer.

mod attacks;
mod key_rules;
pub(crate) mod key_uris;
mod legacy;
mod mesh;
mod moved;
mod remote;
mod second_opinion;
mod support;
mod tables;
mod vectors;
