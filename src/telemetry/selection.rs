//! Which resources touch a workload.

use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{Problem, Resources, TargetRef, Telemetry};
use crate::policy::GATEWAY_LABEL;

/// The resources that count for a workload, the strongest last.
pub(super) fn select<'r>(
    resources: &'r Resources,
    root_namespace: &str,
    workload: &Workload,
    notes: &mut Vec<Problem>,
) -> Vec<&'r Telemetry> {
    let mut all: Vec<&Telemetry> = resources.telemetries.iter().map(Arc::as_ref).collect();
    // One without a time counts as old. Equals stay in the order in which they were written.
    all.sort_by(|a, b| a.meta.created.cmp(&b.meta.created));
    let own = workload.namespace();
    let mut selected = Vec::new();
    selected.extend(widest(&all, root_namespace, notes));
    if own != root_namespace {
        selected.extend(widest(&all, own, notes));
    }
    let narrow = all
        .iter()
        .filter(|one| one.meta.namespace == own && !is_wide(one));
    selected.extend(narrow.filter(|one| touches(one, workload, notes)));
    let unreachable = |one: &&&Telemetry| {
        one.meta.namespace == root_namespace && own != root_namespace && !is_wide(one)
    };
    for one in all.iter().filter(unreachable) {
        let message = "is for workloads of the root namespace alone, because it has a selector; \
                       leave the selector out to mean the mesh";
        notes.push(Problem::new(one.meta.at.clone(), "spec.selector", message));
    }
    selected
}

fn is_wide(resource: &Telemetry) -> bool {
    resource.selector.match_labels.is_empty() && resource.target_refs.is_empty()
}

/// The oldest without a selector in a namespace.
fn widest<'r>(
    all: &[&'r Telemetry],
    namespace: &str,
    notes: &mut Vec<Problem>,
) -> Option<&'r Telemetry> {
    let is_there = |one: &&&Telemetry| one.meta.namespace == namespace && is_wide(one);
    let mut wide = all.iter().filter(is_there);
    let first = wide.next()?;
    for other in wide {
        let (older, at) = (&first.meta.name, &first.meta.at);
        let why = match (&first.meta.created, &other.meta.created) {
            (Some(first), Some(other)) if first != other => "is older",
            _ => "is written first, and creationTimestamp does not say which is older",
        };
        let message = format!(
            "Telemetry {namespace}/{} is ignored: {older} (at {at}) covers the same and {why}; \
             keep one",
            other.meta.name
        );
        notes.push(Problem::new(
            other.meta.at.clone(),
            "metadata.name",
            message,
        ));
    }
    Some(first)
}

fn touches(resource: &Telemetry, workload: &Workload, notes: &mut Vec<Problem>) -> bool {
    let labels = workload.labels();
    let Some(first) = resource.target_refs.first() else {
        let mut wanted = resource.selector.match_labels.iter();
        return wanted.all(|(key, value)| labels.get(key).is_some_and(|label| *label == **value));
    };
    let gateway = labels.get(GATEWAY_LABEL);
    let is_ours = |target: &TargetRef| target.kind == "Gateway" && Some(&target.name) == gateway;
    let ours = resource.target_refs.iter().any(is_ours);
    if !ours {
        let message = format!(
            "Telemetry {}/{} is not for this workload: targetRefs attach to gateways; use a selector",
            resource.meta.namespace, resource.meta.name
        );
        notes.push(Problem::new(first.at.clone(), "spec.targetRefs", message));
    }
    ours
}
