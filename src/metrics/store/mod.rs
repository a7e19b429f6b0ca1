//! The series of the process: their labels, their cells, and the table that finds them.

pub(in crate::metrics) mod append_only_map;
pub(in crate::metrics) mod buckets;
pub(in crate::metrics) mod exemplars;
pub(in crate::metrics) mod histogram;
pub(in crate::metrics) mod labels;
pub(in crate::metrics) mod metric_type;
pub(in crate::metrics) mod process;
mod reserved;
pub(in crate::metrics) mod series;
pub(in crate::metrics) mod table;
pub(in crate::metrics) mod tags;
pub(in crate::metrics) mod value;
pub(in crate::metrics) mod visibility;
