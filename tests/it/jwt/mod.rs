//! The guard for end-user tokens, through its layer.

mod attacks;
mod forms;
mod keys;
mod legacy;
mod mesh;
mod modes;
mod one_decision;
mod second_opinion;
mod several;
mod shown;
mod support;
mod svid;
mod svid_bundles;
mod tables;
mod two_guards;
