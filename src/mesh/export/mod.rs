//! The export of spans and metrics, as a mesh measures it and ends it.

pub(super) mod flush;
pub(super) mod metrics;
