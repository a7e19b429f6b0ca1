//! What follows from rules alone, for every request: one rule implies another, two rules exclude
//! each other, a rule always or never matches. An answer `true` is certain; `false` means "not
//! known".

mod attribute;
mod text;
mod tree;

pub(super) use attribute::Key;
pub(super) use text::{excludes, includes, pattern_matches};
pub(super) use tree::Logic;
