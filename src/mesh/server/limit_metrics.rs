//! The metrics of limits.

use std::sync::Arc;

use crate::concurrency::{ConcurrencyStats, Limiter};
use crate::metrics::Registry;
#[cfg(feature = "rate-limit")]
use crate::rate_limit::{LimitStats, Limits};

/// Registers the counts of each limit. Call it for each generation: a limit that is there again is
/// the same series. A count that is zero has no line, and a limit that is gone has none.
#[cfg(feature = "rate-limit")]
pub(in crate::mesh) fn register(registry: &Registry, limits: &Limits) {
    for limit in limits.iter() {
        let stats = LimitStats::while_it_runs(limit);
        each(registry, limit.counts().name(), &stats);
    }
}

#[cfg(feature = "rate-limit")]
fn each<S>(registry: &Registry, name: &str, stats: &S)
where
    S: Fn() -> Option<LimitStats> + Clone + Send + Sync + 'static,
{
    let outcomes: [(_, fn(&LimitStats) -> u64); 4] = [
        ("ok", LimitStats::passed),
        ("limited", LimitStats::refused),
        ("report_only", LimitStats::reported),
        ("error", LimitStats::unanswered),
    ];
    for (outcome, count) in outcomes {
        let stats = stats.clone();
        registry.counter_of(
            "mesh_rate_limit_total",
            "Requests that a rate limit judged, by what became of them.",
            &[("limit", name), ("outcome", outcome)],
            move || Some(count(&stats()?)).filter(|count| *count > 0),
        );
    }
    let overflowed = stats.clone();
    registry.counter_of(
        "mesh_rate_limit_overflow_total",
        "Requests whose value had no bucket of its own, as all were in use.",
        &[("limit", name)],
        move || Some(overflowed()?.overflowed()).filter(|count| *count > 0),
    );
    let keys = stats.clone();
    registry.gauge_of(
        "mesh_rate_limit_keys",
        "Values that have a bucket of their own.",
        &[("limit", name)],
        move || Some(keys()?.keys() as f64).filter(|keys| *keys > 0.0),
    );
}

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
