//! The guard for end-user tokens, through its layer.

mod attacks;
mod forms;
mod legacy;
mod mesh;
mod one_decision;
mod remote;
mod second_opinion;
mod several;
mod shown;
mod support;
mod tables;
mod vectors;
