//! The export of spans and metrics, as a mesh measures it and ends it.

#[cfg(feature = "otlp")]
pub(super) mod collectors;
pub(super) mod flush;
pub(super) mod metrics;
