//! The export of spans and metrics, as a mesh measures it and ends it.

mod flush;
pub(super) mod metrics;
