//! Hypothetical workloads: one for each resource, with only the labels that its selector demands. A
//! note about such a workload holds for every workload that the resource selects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::known::{Selects, World};
use crate::identity::Workload;
use crate::istio::{Meta, PeerAuthentication, PortSelector, Resources};

/// Such workloads, each with the resources that could not be for one of them without being in
/// conflict.
pub(in crate::vet) fn supposed(world: World<'_>) -> Vec<(Workload, Resources)> {
    let mut supposed = by_labels(world);
    supposed.extend(by_services(world));
    supposed
}

/// A workload for each selector of a PeerAuthentication: with its labels, and no others.
fn by_labels(world: World<'_>) -> Vec<(Workload, Resources)> {
    let peers = &world.resources.peer_authentications;
    let mut by_first: BTreeMap<First<'_>, Vec<&Arc<PeerAuthentication>>> = BTreeMap::new();
    for peer in peers {
        by_first.entry(first(peer)).or_default().push(peer);
    }
    let mut seen = BTreeSet::new();
    let mut supposed = Vec::new();
    for peer in peers {
        let namespace = peer.meta.namespace.as_str();
        let labels: Vec<(&str, &str)> = labels(peer).collect();
        let scope = peer.scope();
        if labels.is_empty() || world.is_root(namespace) || world.is_known(scope) {
            continue;
        }
        let workload = Workload::new(namespace, "");
        let workload = labels.iter().fold(workload, |workload, (key, value)| {
            workload.label(*key, *value)
        });
        // Every other resource that selects it demands one of its labels.
        let of_label = labels.iter();
        let of_label = of_label.filter_map(|label| by_first.get(&(namespace, Some(*label))));
        let selecting = of_label.flatten();
        let selecting = selecting.filter(|other| world.selects(other.scope(), &workload));
        let resources = Resources {
            peer_authentications: selecting.map(|other| Arc::clone(other)).collect(),
            ..Resources::default()
        };
        if resources.peer_authentications.len() > 1 && seen.insert((namespace, labels)) {
            supposed.push((workload, resources));
        }
    }
    supposed
}

/// A namespace, and the first label that a selector asks for.
type First<'r> = (&'r str, Option<(&'r str, &'r str)>);

fn first(peer: &PeerAuthentication) -> First<'_> {
    (&peer.meta.namespace, labels(peer).next())
}

fn labels(peer: &PeerAuthentication) -> impl Iterator<Item = (&str, &str)> {
    let labels = peer.selector.match_labels.iter();
    labels.map(|(key, value)| (key.as_str(), value.as_str()))
}

/// A workload for each namespace of resources of 2018: behind every service that a Policy names,
/// each on a port of its own.
fn by_services(world: World<'_>) -> Vec<(Workload, Resources)> {
    let Resources {
        legacy_policies,
        service_roles,
        service_role_bindings,
        rbac_configs,
        ..
    } = world.resources;
    let policies = legacy_policies.iter().map(|policy| &policy.meta);
    let roles = service_roles.iter().map(|role| &role.meta);
    let bindings = service_role_bindings.iter().map(|binding| &binding.meta);
    let namespaces: BTreeSet<&str> = policies
        .chain(roles)
        .chain(bindings)
        .map(|meta| meta.namespace.as_str())
        .filter(|namespace| !namespace.is_empty())
        .collect();
    let is_known = |namespace: &str| {
        let mut workloads = world.workloads.iter().map(|known| &known.workload);
        workloads.any(|known| known.namespace() == namespace && !known.services().is_empty())
    };
    let mut supposed = Vec::new();
    for namespace in namespaces.into_iter().filter(|name| !is_known(name)) {
        let is_in = |meta: &Meta| meta.namespace == namespace;
        let mut resources = Resources {
            legacy_policies: legacy_policies.clone(),
            service_roles: service_roles.clone(),
            service_role_bindings: service_role_bindings.clone(),
            rbac_configs: rbac_configs.clone(),
            ..Resources::default()
        };
        let policies = &mut resources.legacy_policies;
        policies.retain(|policy| policy.meta.namespace.is_empty() || is_in(&policy.meta));
        resources.service_roles.retain(|role| is_in(&role.meta));
        let bindings = &mut resources.service_role_bindings;
        bindings.retain(|binding| is_in(&binding.meta));
        supposed.push((behind_all(namespace, &resources), resources));
    }
    supposed
}

/// A workload behind every service that a Policy names.
fn behind_all(namespace: &str, resources: &Resources) -> Workload {
    let mut workload = Workload::new(namespace, "");
    let mut free = 1_u16..;
    let policies = resources.legacy_policies.iter();
    for target in policies.flat_map(|policy| &policy.targets) {
        let name = target.name.as_str();
        if target.ports.is_empty() {
            workload = workload.service(name, free.next().unwrap_or(u16::MAX));
        }
        for port in &target.ports {
            workload = match port {
                PortSelector::Number(number) => workload.service(name, *number),
                PortSelector::Name(port_name) => {
                    let number = free.next().unwrap_or(u16::MAX);
                    workload.service_with_port_name(name, number, port_name.as_str())
                }
            };
        }
    }
    if workload.services().is_empty() {
        workload = workload.service("any", 1);
    }
    workload
}
