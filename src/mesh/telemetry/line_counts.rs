//! The metrics of access logs.

use crate::access_log::Sink;
use crate::metrics::Registry;

/// Registers the counts of all lines; a mesh without a log has none.
pub(super) fn register(registry: &Registry, sinks: &[Sink]) {
    if sinks.is_empty() {
        return;
    }
    let sum = |count: Count| {
        let sinks = sinks.to_vec();
        move || Some(sinks.iter().map(count).sum())
    };
    registry.counter_of(
        "mesh_access_log_lines_total",
        "Lines of the access log that were written.",
        &[],
        sum(Sink::written_lines),
    );
    let reasons: [(_, Count); 2] = [("full", Sink::dropped_lines), ("write", Sink::failed_lines)];
    for (reason, count) in reasons {
        registry.counter_of(
            "mesh_access_log_dropped_total",
            "Lines of the access log that were lost, by reason.",
            &[("reason", reason)],
            sum(count),
        );
    }
}

type Count = fn(&Sink) -> u64;
