//! What follows from rules alone, whatever is asked: that one implies another, that two exclude each other, that one always or never
//! matches. Every answer `true` is certain; `false` means that it is not known.

mod attribute;
mod text;
mod tree;

pub(super) use attribute::Key;
pub(super) use text::{excludes, includes};
pub(super) use tree::Logic;
