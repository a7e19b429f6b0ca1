//! What commands print.

pub(crate) mod answer;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod table;
