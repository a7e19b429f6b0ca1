//! The export of spans, metrics and lines, as a mesh measures it and ends it.

mod access_logs;
#[cfg(feature = "audit")]
mod audit;
#[cfg(feature = "otlp")]
pub(super) mod collectors;
pub(super) mod flush;
pub(super) mod metrics;
