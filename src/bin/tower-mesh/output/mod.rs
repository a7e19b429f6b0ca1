//! What commands print.

pub(crate) mod answer;
pub(crate) mod github;
pub(crate) mod table;
