//! Metrics, spans, trace headers and the log.

mod access_events;
mod attributes;
mod counts;
mod log_limits;
mod metrics;
mod metrics_bounds;
mod metrics_scrape;
mod observers;
mod open_telemetry;
mod propagation;
mod resources;
pub(crate) mod seen;
mod semantic_conventions;
pub(crate) mod trace_context;
