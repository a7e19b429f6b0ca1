//! Writes the series as text for Prometheus, in one of two formats, piece by piece.

pub(in crate::metrics) mod families;
pub(in crate::metrics) mod format;
pub(in crate::metrics) mod slots;
pub(in crate::metrics) mod text;
