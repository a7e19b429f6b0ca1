//! From a text to a checked syntax tree.

pub(in crate::cel) mod bounds;
pub(in crate::cel) mod check;
pub(in crate::cel) mod names;
pub(in crate::cel) mod parse;
pub(in crate::cel) mod times;
pub(in crate::cel) mod vocabulary;
