//! Checks which workloads a resource selects.

use crate::istio::{
    Action, AuthorizationPolicy, MeshConfig, Meta, ProviderKind, Resources, Selector,
};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::rules::names;
use crate::vet::world::known::{Scope, World};

/// Adds notes about selectors and providers.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    let Resources {
        authorization_policies,
        request_authentications,
        peer_authentications,
        ..
    } = world.resources;
    let mut check = |meta: &Meta, written: &Selector, scope: Scope<'_>| {
        selector(world, meta, written, scope, notes);
    };
    for one in authorization_policies {
        check(&one.meta, &one.selector, (&**one).into());
    }
    for one in request_authentications {
        check(&one.meta, &one.selector, (&**one).into());
    }
    for one in peer_authentications {
        check(&one.meta, &one.selector, (&**one).into());
    }
    if world.mesh_is_known {
        for policy in authorization_policies {
            provider(world.mesh, policy, notes);
        }
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
    if selector.match_labels.is_empty() {
        // A selector that is written has a place.
        if selector.at.line > 0 {
            notes.add(
                Code::EmptySelector,
                meta,
                &selector.at,
                "a selector without labels selects every workload of its namespace, or of the mesh in the root namespace",
                "name labels, or leave the selector out to say that all are meant",
            );
        }
        return;
    }
    for (key, value) in &selector.match_labels {
        if let Some(fault) = names::label(value) {
            let message = format!("nothing has the label `{key}`: {}", fault.message);
            notes.add(
                Code::ValueNeverMatches,
                meta,
                value.at(),
                message,
                fault.help,
            );
        }
    }
    if world.is_known(scope) && world.selected(scope).next().is_none() {
        let labels: Vec<String> = selector
            .match_labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        notes.add(
            Code::SelectorMatchesNothing,
            meta,
            &selector.at,
            format!(
                "no known workload has {}, so this is for none",
                labels.join(", ")
            ),
            "correct the labels, or name the workload to the command",
        );
    }
}

/// Known workloads that no policy allows anything to.
fn unguarded(world: World<'_>, notes: &mut Notes) {
    for known in world.workloads {
        let workload = &known.workload;
        let policies = &world.resources.authorization_policies;
        let allowing = policies
            .iter()
            .filter(|policy| policy.action == Action::Allow && !policy.dry_run);
        // Whether a policy of a Service or a waypoint is for it is not known.
        let may_be_attached = allowing.clone().any(|policy| {
            let scope = Scope::from(&**policy);
            scope.is_attached && scope.namespace == workload.namespace()
        });
        let calls_only =
            matches!(known.kind.as_str(), "CronJob" | "Job") && workload.services().is_empty();
        if may_be_attached || calls_only {
            continue;
        }
        let legacy = world.resources.rbac_configs.first();
        if legacy.is_some()
            || allowing
                .clone()
                .any(|policy| world.selects((&**policy).into(), workload))
        {
            continue;
        }
        let mut meta = Meta::default();
        known.kind.clone_into(&mut meta.kind);
        known.at.clone_into(&mut meta.at);
        workload.namespace().clone_into(&mut meta.namespace);
        workload.workload_name().clone_into(&mut meta.name);
        notes.add(
            Code::UnguardedWorkload,
            &meta,
            &meta.at,
            "no ALLOW policy selects this workload, so every request that no DENY refuses is allowed",
            "write an ALLOW policy for it; one without rules allows nothing",
        );
    }
}

/// A provider that MeshConfig does not have, or that cannot authorize.
fn provider(mesh: &MeshConfig, policy: &AuthorizationPolicy, notes: &mut Notes) {
    let Some(name) = &policy.provider else { return };
    let found = mesh
        .extension_providers
        .iter()
        .find(|provider| *provider.name == **name);
    let what = match found.map(|provider| &provider.kind) {
        None => "MeshConfig has no provider of this name",
        Some(ProviderKind::Other) => "this provider cannot authorize",
        Some(ProviderKind::ExtAuthzGrpc { .. } | ProviderKind::ExtAuthzHttp { .. }) => return,
    };
    notes.add(
        Code::UnknownProvider,
        &policy.meta,
        name.at(),
        format!("{what}, so every request that the rules match is refused"),
        "name one of MeshConfig's extensionProviders with envoyExtAuthzHttp or envoyExtAuthzGrpc",
    );
}
