//! The metrics of rate limits.

use crate::metrics::Registry;
use crate::rate_limit::{LimitStats, Limits};

/// Registers the counts of each limit. Call it for each generation: a limit that is there again is
/// the same series. A count that is zero has no line.
pub(super) fn register(registry: &Registry, limits: &Limits) {
    for limit in limits.iter() {
        each(registry, &LimitStats::new(limit));
    }
}

fn each(registry: &Registry, limit: &LimitStats) {
    let outcomes: [(_, fn(&LimitStats) -> u64); 3] = [
        ("ok", LimitStats::passed),
        ("limited", LimitStats::refused),
        ("report_only", LimitStats::reported),
    ];
    for (outcome, count) in outcomes {
        let stats = limit.clone();
        registry.counter_of(
            "mesh_rate_limit_total",
            "Requests that a local rate limit judged, by what became of them.",
            &[("limit", limit.name()), ("outcome", outcome)],
            move || Some(count(&stats)).filter(|count| *count > 0),
        );
    }
    let stats = limit.clone();
    registry.counter_of(
        "mesh_rate_limit_overflow_total",
        "Requests whose value had no bucket of its own, as all were in use.",
        &[("limit", limit.name())],
        move || Some(stats.overflowed()).filter(|count| *count > 0),
    );
    let stats = limit.clone();
    registry.gauge_of(
        "mesh_rate_limit_keys",
        "Values that have a bucket of their own.",
        &[("limit", limit.name())],
        move || Some(stats.keys() as f64).filter(|keys| *keys > 0.0),
    );
}
