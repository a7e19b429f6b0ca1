//! The guard for end-user tokens, through its layer.

mod attacks;
mod forms;
mod key_rules;
mod key_uris;
mod legacy;
mod mesh;
mod moved;
mod one_decision;
mod remote;
mod second_opinion;
mod several;
mod shown;
mod support;
mod tables;
mod two_guards;
mod vectors;
