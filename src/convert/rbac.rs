use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::authentication::Policies;
use super::role::{Reach, Slot, operations};
use super::rule::{Part, rules};
use super::services::Backend;
use super::subject::caller;
use super::text::{is_pattern, service_of};
use super::writer::{Converted, Writer, selector};
use super::yaml::Yaml;
use crate::istio::{
    EnforcementMode, Position, RbacConfig, RbacMode, RbacTarget, ServiceRole, ServiceRoleBinding,
    Text,
};

/// Roles, bindings and the switch as AuthorizationPolicies.
pub(super) fn convert(writer: &mut Writer<'_>, policies: &Policies<'_>) {
    let resources = writer.resources;
    let Some(config) = switch(writer) else {
        return;
    };
    let dry_run = config.enforcement_mode == EnforcementMode::Permissive;
    closed(writer, config, dry_run);
    let bound = &resources.service_role_bindings;
    let mut bindings: HashMap<(&str, &str), Vec<&ServiceRoleBinding>> = HashMap::new();
    for binding in bound {
        let role = (binding.meta.namespace.as_str(), &*binding.role);
        bindings.entry(role).or_default().push(binding);
    }
    // Of each namespace but once: all roles are looked through for them.
    let mut known: HashMap<&str, Vec<Backend>> = HashMap::new();
    let mut roles: HashSet<(&str, &str)> = HashSet::new();
    for role in &resources.service_roles {
        let namespace = role.meta.namespace.as_str();
        let key = (namespace, role.meta.name.as_str());
        roles.insert(key);
        let places = known
            .entry(namespace)
            .or_insert_with(|| places(writer, namespace));
        let bindings = bindings.get(&key).map_or(&[][..], Vec::as_slice);
        self::role(writer, policies, config, role, bindings, places, dry_run);
        writer.settle();
    }
    for binding in bound {
        let is_known = roles.contains(&(binding.meta.namespace.as_str(), &*binding.role));
        if !binding.actions.is_empty() {
            let message = "inline actions are not read; write a ServiceRole and name it in roleRef";
            writer.refuse(&binding.meta.at, "spec.actions", message);
        } else if !is_known {
            let message =
                "names a role that its namespace does not have: it grants nothing and is left out";
            writer.note(binding.role.at(), "spec.roleRef.name", message);
        }
    }
    writer.settle();
}

/// The switch; `None` when nothing turns RBAC on, and then roles meant nothing.
fn switch<'a>(writer: &mut Writer<'a>) -> Option<&'a RbacConfig> {
    let resources = writer.resources;
    let of_kind = |kind: &'static str| {
        let configs = resources.rbac_configs.iter();
        configs.filter(move |config| config.meta.kind == kind)
    };
    let cluster = of_kind("ClusterRbacConfig").next();
    let config = cluster.or_else(|| of_kind("RbacConfig").next());
    for other in resources.rbac_configs.iter() {
        if config.is_some_and(|config| !std::sync::Arc::ptr_eq(config, other)) {
            let message = "is ignored: another one counts, of which there can be one only";
            writer.note(&other.meta.at, "", message);
        }
    }
    match config {
        Some(config) if config.mode != RbacMode::Off => {
            if let Some(policy) = resources.authorization_policies.first() {
                let message = format!(
                    "replaces all of rbac.istio.io (at {}) for the workloads it selects, while \
                     converted policies would be added to it; convert the old resources apart, and \
                     say then which of both the workloads are to have",
                    config.meta.at
                );
                writer.refuse(&policy.meta.at, "", message);
            }
            Some(config)
        }
        off => {
            let roles = resources.service_roles.first().map(|role| &role.meta.at);
            if let Some(at) = off.map(|config| &config.meta.at).or(roles) {
                let message = "RBAC is off: roles and bindings grant and refuse nothing, and no \
                    policy is written for them";
                writer.note(at, "", message);
            }
            writer.settle();
            None
        }
    }
}

/// The services that RBAC closes by being on, and those it leaves open.
fn closed(writer: &mut Writer<'_>, config: &RbacConfig, dry_run: bool) {
    let root = writer.mesh.root_namespace.clone();
    let nothing = || Yaml::Map(Vec::new());
    let at = &config.meta.at;
    let draft = |writer: &mut Writer<'_>, namespace: &str, name: &str, for_mesh, spec: Yaml| {
        let name = name.to_owned();
        let policy = authorization(namespace, name, dry_run, spec, vec![at.clone()]);
        writer.write(policy, for_mesh);
    };
    let write = |writer: &mut Writer<'_>, namespace: &str, name: &str, spec: Yaml| {
        draft(writer, namespace, name, false, spec);
    };
    let whole =
        |writer: &mut Writer<'_>, target: &RbacTarget, field: &str, name: &str, spec: Yaml| {
            for namespace in &target.namespaces {
                if **namespace == *root {
                    writer.refuse_in_root(namespace.at(), &format!("spec.{field}.namespaces"));
                } else {
                    write(writer, namespace, name, spec.clone());
                }
            }
        };
    let everywhere = |writer: &mut Writer<'_>| {
        let message = "also closes gateways and workloads behind no service, which the old control \
            plane left alone: RBAC was for services";
        writer.note(at, "spec.mode", message);
        draft(writer, &root, "default-deny", true, nothing());
    };
    match config.mode {
        RbacMode::Off => {}
        RbacMode::On => everywhere(writer),
        RbacMode::OnWithInclusion => {
            let inclusion = &config.inclusion;
            whole(writer, inclusion, "inclusion", "default-deny", nothing());
            let included = services(writer, inclusion, "inclusion");
            for (place, namespace) in &included {
                let beside = included.iter().filter(|(_, of)| of == namespace);
                let beside: Vec<_> = beside.map(|(place, _)| place).collect();
                let rest = left_open(writer, at, place, &beside);
                let spec = Yaml::map([("selector", selector(&place.labels)), ("rules", rest)]);
                let name = format!("default-deny-{}", place.service);
                write(writer, namespace, &name, spec);
            }
        }
        RbacMode::OnWithExclusion => {
            everywhere(writer);
            let anything = Yaml::map([("rules", Some(Yaml::List(vec![nothing()])))]);
            let exclusion = &config.exclusion;
            whole(writer, exclusion, "exclusion", "rbac-off", anything);
            for (place, namespace) in services(writer, exclusion, "exclusion") {
                let open = if place.ports.is_empty() {
                    Yaml::List(vec![nothing()])
                } else {
                    ports("ports", &place.ports)
                };
                let spec =
                    Yaml::map([("selector", selector(&place.labels)), ("rules", Some(open))]);
                let name = format!("rbac-off-{}", place.service);
                write(writer, &namespace, &name, spec);
            }
        }
    }
    writer.settle();
}

/// What an included service leaves open: the ports of no included service that may be in front of
/// the same workload, since what one ALLOW lets in, no other takes back.
fn left_open(
    writer: &mut Writer<'_>,
    at: &Position,
    place: &Backend,
    included: &[&Backend],
) -> Option<Yaml> {
    let mut closed = BTreeSet::new();
    let mut is_known = true;
    for other in included.iter().filter(|other| other.may_meet(place)) {
        is_known &= !other.ports.is_empty();
        closed.extend(&other.ports);
        let adds = other.ports.is_empty() || !other.ports.is_subset(&place.ports);
        if other.labels != place.labels && adds {
            let message = format!(
                "the workloads behind `{}` may be behind `{}`, too: what is closed for either is \
                 closed on all of them",
                place.service, other.service
            );
            writer.note(at, "spec.inclusion.services", message);
        }
    }
    is_known.then(|| ports("notPorts", &closed))
}

/// A rule for some ports.
fn ports(field: &'static str, ports: &BTreeSet<u16>) -> Yaml {
    let mut part = Part::default();
    part.field(field, ports);
    Yaml::List(rules(&[Part::default()], &[part]))
}

/// The services of a list that its namespaces do not cover already.
fn services(writer: &mut Writer<'_>, target: &RbacTarget, field: &str) -> Vec<(Backend, String)> {
    let mut found = Vec::new();
    for host in &target.services {
        let Some((service, namespace)) = service_of(host) else {
            let message = "is no service's full name (NAME.NAMESPACE.svc.cluster.local): it covers \
                nothing and is left out";
            writer.note(host.at(), format!("spec.{field}.services"), message);
            continue;
        };
        if lists(target, namespace) {
            continue;
        }
        let place = writer.services.find(service, namespace);
        writer.note_place(host.at(), namespace, &place);
        found.push((place, namespace.to_owned()));
    }
    found
}

fn lists(target: &RbacTarget, namespace: &str) -> bool {
    let mut names = target.namespaces.iter();
    names.any(|name| **name == *namespace)
}

/// Where roles of a namespace count; `None`: nowhere.
fn reach(config: &RbacConfig, namespace: &str) -> Option<Reach> {
    match config.mode {
        RbacMode::Off => None,
        RbacMode::On => Some(Reach::Everywhere),
        RbacMode::OnWithExclusion => {
            (!lists(&config.exclusion, namespace)).then_some(Reach::Everywhere)
        }
        RbacMode::OnWithInclusion if lists(&config.inclusion, namespace) => Some(Reach::Everywhere),
        RbacMode::OnWithInclusion => {
            let services = config.inclusion.services.iter();
            let own = services.filter_map(|host| service_of(host));
            let own = own.filter(|(_, of)| *of == namespace);
            let own: Vec<_> = own.map(|(service, _)| service.to_owned()).collect();
            (!own.is_empty()).then_some(Reach::Services(own))
        }
    }
}

/// Every known service of a namespace: stated by the caller, or named by a resource.
pub(super) fn places(writer: &Writer<'_>, namespace: &str) -> Vec<Backend> {
    let resources = writer.resources;
    let mut names: BTreeSet<&str> = writer.services.names(namespace).collect();
    let mut hosts: Vec<&Text> = Vec::new();
    for config in &resources.rbac_configs {
        hosts.extend(&config.inclusion.services);
        hosts.extend(&config.exclusion.services);
    }
    for role in &resources.service_roles {
        for rule in &role.rules {
            hosts.extend(&rule.services);
            if role.meta.namespace == namespace {
                let constraints = rule.constraints.iter();
                let named = constraints.filter(|constraint| &*constraint.key == "destination.name");
                let values = named.flat_map(|constraint| &constraint.values);
                names.extend(values.map(Text::as_str));
            }
        }
    }
    let hosts = hosts.into_iter().filter_map(|host| service_of(host));
    let own = hosts.filter(|(_, of)| *of == namespace);
    names.extend(own.map(|(service, _)| service));
    for policy in &resources.legacy_policies {
        if policy.meta.namespace == namespace {
            names.extend(policy.targets.iter().map(|target| &*target.name));
        }
    }
    names.retain(|name| !is_pattern(name));
    let names = names.into_iter();
    let places = names.map(|name| writer.services.find(name, namespace));
    places.collect()
}

fn role(
    writer: &mut Writer<'_>,
    policies: &Policies<'_>,
    config: &RbacConfig,
    role: &ServiceRole,
    bindings: &[&ServiceRoleBinding],
    places: &[Backend],
    all_dry: bool,
) {
    let meta = &role.meta;
    if bindings.is_empty() {
        let message = "has no binding: it grants nothing and is left out";
        writer.note(&meta.at, "metadata.name", message);
        return;
    }
    let Some(reach) = reach(config, &meta.namespace) else {
        let message = format!(
            "{} (at {}) does not turn RBAC on here: the role grants nothing and is left out",
            config.meta.kind, config.meta.at
        );
        writer.note(&meta.at, "metadata.namespace", message);
        return;
    };
    let mut slots: Vec<(Slot, Vec<Part>)> = Vec::new();
    for (index, rule) in role.rules.iter().enumerate() {
        for (slot, part) in operations(writer, role, index, rule, &reach, places) {
            match slots.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, parts)) => parts.push(part),
                None => slots.push((slot, vec![part])),
            }
        }
    }
    let is_only = slots.len() == 1;
    for (slot, parts) in slots {
        let name = match &slot.place {
            Some(place) if !is_only => format!("{}-{}", meta.name, place.service),
            _ => meta.name.clone(),
        };
        let callers = policies.callers(&meta.namespace, slot.place.as_ref());
        let mut by_mode: BTreeMap<bool, (Vec<Part>, Vec<Position>)> = BTreeMap::new();
        for binding in bindings {
            let dry_run = all_dry || binding.mode == EnforcementMode::Permissive;
            let (subjects, from) = by_mode.entry(dry_run).or_default();
            from.push(binding.meta.at.clone());
            for (index, subject) in binding.subjects.iter().enumerate() {
                subjects.extend(caller(writer, index, subject, &callers));
            }
        }
        let several = by_mode.len() > 1;
        for (dry_run, (subjects, bound)) in by_mode {
            // No caller is let in; a trial reports even that.
            if subjects.is_empty() && (all_dry || !dry_run) {
                continue;
            }
            let rules = Yaml::list(rules(&subjects, &parts));
            let spec = Yaml::map([("selector", selector(&slot.labels)), ("rules", rules)]);
            let suffix = if dry_run && several { "-dry-run" } else { "" };
            let name = format!("{name}{suffix}");
            let from = std::iter::once(meta.at.clone()).chain(bound).collect();
            let policy = authorization(&meta.namespace, name, dry_run, spec, from);
            writer.write(policy, false);
        }
    }
}

fn authorization(
    namespace: &str,
    name: String,
    dry_run: bool,
    spec: Yaml,
    from: Vec<Position>,
) -> Converted {
    Converted {
        dry_run,
        ..Converted::new("AuthorizationPolicy", namespace, name, spec, from)
    }
}
