use crate::metrics::Registry;
use crate::propagation::{ExportCounts, Propagation};

/// Takes one of the counts.
type Count = fn(ExportCounts) -> u64;

/// Registers what has become of the spans, where they go to an exporter that counts.
pub(in crate::mesh) fn register(registry: &Registry, propagation: &Propagation) {
    if propagation.export_counts().is_none() {
        return;
    }
    let of = |count: Count| {
        let propagation = propagation.clone();
        move || propagation.export_counts().map(count)
    };
    let outcomes: [(_, Count); 5] = [
        ("exported", |counts| counts.exported),
        ("dropped", |counts| counts.dropped),
        ("failed", |counts| counts.failed),
        ("lost", |counts| counts.lost),
        ("rejected", |counts| counts.rejected),
    ];
    for (outcome, count) in outcomes {
        registry.counter_of(
            "mesh_span_export_total",
            "Spans by what became of them: exported; dropped, as the queue was full; failed, as the \
             collector did not take them; lost, as no runtime was there to send them; rejected, by \
             the collector, of a batch that it took.",
            &[("outcome", outcome)],
            of(count),
        );
    }
    let queued = of(|counts| counts.queued);
    registry.gauge_of(
        "mesh_span_export_queue",
        "Spans that wait to be sent.",
        &[],
        move || queued().map(|queued| queued as f64),
    );
}
