//! The export of spans, as a mesh measures it and ends it.

mod flush;
pub(super) mod metrics;
