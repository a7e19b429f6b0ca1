//! The metrics of the audit trail.

use std::sync::Arc;

use super::auditor::Auditor;
use crate::audit::{Audit, Counters};
use crate::metrics::Registry;

type Count = fn(&Counters) -> u64;

/// Registers the metrics of each trail, by its place among them, and of the whole.
pub(in crate::mesh) fn register(registry: &Registry, auditor: &Arc<Auditor>) {
    let families: [(&str, &str, Count); 6] = [
        (
            "mesh_audit_written_total",
            "Audit events that are in a trail.",
            Counters::written,
        ),
        (
            "mesh_audit_dropped_total",
            "Audit events for which the queue of a trail had no room.",
            Counters::dropped,
        ),
        (
            "mesh_audit_lost_total",
            "Audit events that a trail could not write.",
            Counters::lost,
        ),
        (
            "mesh_audit_gaps_total",
            "Records of an audit trail that tell of events which are missing.",
            Counters::gaps,
        ),
        (
            "mesh_audit_failed_total",
            "How often writing an audit trail has failed.",
            Counters::failures,
        ),
        (
            "mesh_audit_checkpoints_failed_total",
            "Checkpoints of an audit trail that could not be signed or were not taken.",
            Counters::checkpoint_failures,
        ),
    ];
    for (index, _) in auditor.audit.counters().enumerate() {
        let trail = index.to_string();
        let labels = [("trail", trail.as_str())];
        for (name, help, read) in families {
            let audit = auditor.audit.clone();
            registry.counter_of(name, help, &labels, move || {
                audit.counters().nth(index).map(read)
            });
        }
        let audit = auditor.audit.clone();
        registry.gauge_of(
            "mesh_audit_queued",
            "Audit events that wait to be written.",
            &labels,
            move || Some(audit.counters().nth(index)?.queued().0 as f64),
        );
    }
    let audit = auditor.audit.clone();
    registry.gauge_of(
        "mesh_audit_failing",
        "Audit trails that cannot be written now.",
        &[],
        move || Some(audit.failing() as f64),
    );
    let counter = |name, help, read: fn(&Audit) -> u64| {
        let audit = auditor.audit.clone();
        registry.counter_of(name, help, &[], move || Some(read(&audit)));
    };
    counter(
        "mesh_audit_unavailable_total",
        "Audit events that had to be durable and were not in time.",
        Audit::unavailable,
    );
    counter(
        "mesh_audit_aggregated_total",
        "Refusals that are in the count of another audit record.",
        Audit::aggregated,
    );
    let auditor = Arc::clone(auditor);
    registry.counter_of(
        "mesh_audit_break_glass_total",
        "Requests that a policy for emergencies allowed.",
        &[],
        move || Some(auditor.break_glass()),
    );
}
