//! Checks which workloads a resource selects.

use crate::istio::{Action, Meta, Selector};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::rules::names;
use crate::vet::rules::written::Fault;
use crate::vet::world::known::{Scope, Selects, World};

/// Adds notes about selectors.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    let resources = world.resources;
    for one in &resources.authorization_policies {
        selector(world, &one.meta, &one.selector, one.scope(), notes);
    }
    for one in &resources.request_authentications {
        selector(world, &one.meta, &one.selector, one.scope(), notes);
    }
    for one in &resources.peer_authentications {
        selector(world, &one.meta, &one.selector, one.scope(), notes);
    }
    for one in &resources.rate_limits {
        selector(world, &one.meta, &one.selector, one.scope(), notes);
    }
    unguarded(world, notes);
}

fn selector(
    world: World<'_>,
    meta: &Meta,
    selector: &Selector,
    scope: Scope<'_>,
    notes: &mut Notes,
) {
    let (at, labels) = (&selector.at, &selector.match_labels);
    if labels.is_empty() {
        // A selector that is written has a place.
        if at.line > 0 {
            let message = "a selector without labels selects every workload of its namespace, or of the mesh in the root namespace";
            let help = "name labels, or leave the selector out to say that all are meant";
            notes.add(Code::EmptySelector, meta, at, message, help);
        }
        return;
    }
    for (key, value) in labels {
        if let Some(Fault { message, help }) = names::label(value) {
            let message = format!("nothing has the label `{key}`: {message}");
            notes.add(Code::ValueNeverMatches, meta, value.at(), message, help);
        }
    }
    if world.is_known(scope) && world.selected(scope).next().is_none() {
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let labels = labels.collect::<Vec<String>>().join(", ");
        let message = format!("no known workload has {labels}, so this is for none");
        let help = "correct the labels, or name the workload to the command";
        notes.add(Code::SelectorMatchesNothing, meta, at, message, help);
    }
}

/// Known workloads that no policy allows anything to.
fn unguarded(world: World<'_>, notes: &mut Notes) {
    for known in world.workloads {
        let workload = &known.workload;
        let policies = world.resources.authorization_policies.iter();
        let mut allowing =
            policies.filter(|policy| policy.action == Action::Allow && !policy.dry_run);
        let may_be_guarded = allowing.any(|policy| {
            let scope = policy.scope();
            // Whether a policy of a Service or a waypoint is for it is not known.
            let may_be_attached = scope.is_attached && scope.namespace == workload.namespace();
            may_be_attached || world.selects(scope, workload)
        });
        let calls_only =
            matches!(known.kind.as_str(), "CronJob" | "Job") && workload.services().is_empty();
        let is_legacy = !world.resources.rbac_configs.is_empty();
        if may_be_guarded || calls_only || is_legacy {
            continue;
        }
        let meta = Meta {
            kind: known.kind.clone(),
            at: known.at.clone(),
            namespace: workload.namespace().to_owned(),
            name: workload.workload_name().to_owned(),
            ..Meta::default()
        };
        let message = "no ALLOW policy selects this workload, so every request that no DENY refuses is allowed";
        let help = "write an ALLOW policy for it; one without rules allows nothing";
        notes.add(Code::UnguardedWorkload, &meta, &meta.at, message, help);
    }
}
