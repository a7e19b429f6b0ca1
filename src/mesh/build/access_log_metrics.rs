//! The metrics of access logs.

use crate::access_log::{AccessLogs, Sink};
use crate::metrics::Registry;

/// Registers the counts of all lines; a mesh without a log has none.
pub(super) fn register(registry: &Registry, logs: [&AccessLogs; 2]) {
    let mut sinks: Vec<Sink> = Vec::new();
    for sink in logs.into_iter().flat_map(AccessLogs::sinks) {
        if !sinks.iter().any(|known| known.is_same(sink)) {
            sinks.push(sink.clone());
        }
    }
    if sinks.is_empty() {
        return;
    }
    let dropped = "Lines of the access log that nobody will read, by reason.";
    let counts: [(_, _, &[(&str, &str)], Count); 3] = [
        (
            "mesh_access_log_lines_total",
            "Lines of the access log that were written.",
            &[],
            Sink::written_lines,
        ),
        (DROPPED, dropped, &[("reason", "full")], Sink::dropped_lines),
        (DROPPED, dropped, &[("reason", "write")], Sink::failed_lines),
    ];
    for (name, help, labels, count) in counts {
        let sinks = sinks.clone();
        registry.counter_of(name, help, labels, move || {
            Some(sinks.iter().map(count).sum())
        });
    }
}

type Count = fn(&Sink) -> u64;

const DROPPED: &str = "mesh_access_log_dropped_total";
