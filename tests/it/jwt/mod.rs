//! The guard for end-user tokens, through its layer.

mod attacks;
mod key_rules;
mod legacy;
mod mesh;
mod remote;
mod second_opinion;
mod support;
mod tables;
mod vectors;
