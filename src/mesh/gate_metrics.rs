//! The metric of the gate.

use std::sync::Arc;

use crate::gate::{Refusal, Refusals};
use crate::metrics::Registry;

/// Registers the counts of what the gate refuses; a reason that never occurred has no line.
pub(super) fn register(registry: &Registry, refusals: &Arc<Refusals>) {
    for reason in Refusal::ALL {
        let refusals = Arc::clone(refusals);
        registry.counter_of(
            "mesh_gate_refusals_total",
            "Requests that the gate refused, by reason.",
            &[("reason", reason.label())],
            move || Some(refusals.count(reason)).filter(|count| *count > 0),
        );
    }
}
