//! The metrics of the concurrency limit.

use std::sync::Arc;

use crate::concurrency::{ConcurrencyStats, Limiter};
use crate::metrics::Registry;

/// Registers the metrics of the concurrency limit.
pub(in crate::mesh) fn register_concurrency(registry: &Registry, limiter: &Arc<Limiter>) {
    let gauge = |name, help, read: fn(&ConcurrencyStats) -> u32| {
        let stats = ConcurrencyStats::new(limiter);
        registry.gauge_of(name, help, &[], move || Some(read(&stats).into()));
    };
    gauge(
        "mesh_concurrency_limit",
        "Requests that may be under way at once.",
        ConcurrencyStats::limit,
    );
    gauge(
        "mesh_concurrency_in_flight",
        "Requests that are under way, without health checks.",
        ConcurrencyStats::in_flight,
    );
    let stats = ConcurrencyStats::new(limiter);
    registry.counter_of(
        "mesh_concurrency_refused_total",
        "Requests that were refused because too many were under way.",
        &[],
        move || Some(stats.refused()),
    );
}
