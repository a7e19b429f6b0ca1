//! Reads YAML and JSON into trees with positions, and walks them field by field.

pub(super) mod cursor;
pub(super) mod error;
pub(super) mod fields;
pub(super) mod one_line;
pub(super) mod position;
pub(super) mod reader;
pub(super) mod suggest;
pub(super) mod template;
pub(super) mod tree;
