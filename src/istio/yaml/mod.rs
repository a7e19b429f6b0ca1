//! YAML and JSON texts as trees with positions, and how to walk them.

pub(super) mod cursor;
pub(super) mod error;
pub(super) mod fields;
pub(super) mod one_line;
pub(super) mod position;
pub(super) mod reader;
pub(super) mod suggest;
pub(super) mod template;
pub(super) mod tree;
