use std::collections::{BTreeMap, BTreeSet};

use super::rule::Part;
use super::services::Backend;
use super::text::{bracketed, is_pattern, service_of, takes};
use super::writer::Writer;
use crate::istio::{AccessRule, Constraint, ServiceRole, Text};

/// The workloads that a policy selects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slot {
    /// Empty: all of the namespace.
    pub(super) labels: BTreeMap<String, String>,
    /// Empty: all, or not known.
    pub(super) ports: BTreeSet<u16>,
    /// The service they are behind; `None`: any.
    pub(super) place: Option<Backend>,
}

/// Where the roles of a namespace count.
pub(super) enum Reach {
    Everywhere,
    /// For these services only.
    Services(Vec<String>),
}

/// The workloads of one rule, and what may be done there.
pub(super) fn operations(
    writer: &mut Writer<'_>,
    role: &ServiceRole,
    index: usize,
    rule: &AccessRule,
    reach: &Reach,
    places: &[Backend],
) -> Vec<(Slot, Part)> {
    let mut operations = Vec::new();
    for slot in slots(writer, role, index, rule, reach, places) {
        if let Some(place) = &slot.place {
            writer.note_place(&rule.at, &role.meta.namespace, place);
        }
        if let Some(part) = operation(writer, index, rule, &slot) {
            operations.push((slot, part));
        }
    }
    operations
}

/// Which workloads a rule is for, decided as the old control plane decided it: when it was loaded.
fn slots(
    writer: &mut Writer<'_>,
    role: &ServiceRole,
    index: usize,
    rule: &AccessRule,
    reach: &Reach,
    places: &[Backend],
) -> Vec<Slot> {
    let namespace = role.meta.namespace.as_str();
    let field = |name: &str| format!("spec.rules[{index}].{name}");
    for constraint in &rule.constraints {
        let name = &*constraint.key;
        if name == "destination.user" && constraint.values.iter().all(|value| &**value != "*") {
            let message = "selected workloads by their service account, which a selector cannot; \
                write destination.labels that they carry";
            writer.refuse(constraint.key.at(), field("constraints"), message);
        }
        let met = |value: &Text| takes(value, namespace);
        if name == "destination.namespace" && !constraint.values.iter().any(met) {
            let message =
                "is another namespace than the role's: the rule grants nothing and is left out";
            writer.note(constraint.key.at(), field("constraints"), message);
            return Vec::new();
        }
    }
    let names = rule.constraints.iter();
    let names: Vec<_> = names
        .filter(|name| &*name.key == "destination.name")
        .collect();
    let is_for_all = rule.services.iter().any(|service| &**service == "*") && names.is_empty();
    let fits = |place: &&Backend| {
        let host = super::text::host(&place.service, namespace);
        let named =
            |name: &&Constraint| name.values.iter().any(|value| takes(value, &place.service));
        rule.services.iter().any(|service| takes(service, &host)) && names.iter().all(named)
    };
    let counts = |place: &&Backend| match reach {
        Reach::Everywhere => true,
        Reach::Services(services) => services.contains(&place.service),
    };
    let mut slots = Vec::new();
    if is_for_all && matches!(reach, Reach::Everywhere) {
        slots.push(Slot::default());
    } else {
        let fitting: Vec<_> = places.iter().filter(fits).collect();
        note_patterns(writer, index, rule, &names, &fitting);
        for service in &rule.services {
            let is_here = service_of(service).is_some_and(|(_, of)| of == namespace);
            if !is_pattern(service) && !is_here {
                let message = "is no service of the role's namespace \
                    (NAME.NAMESPACE.svc.cluster.local): it grants nothing and is left out";
                writer.note(service.at(), field("services"), message);
            }
        }
        for place in fitting.iter().filter(|place| !counts(place)) {
            let message = format!(
                "ClusterRbacConfig does not cover the service `{}`: the rule grants nothing there",
                place.service
            );
            writer.note(&rule.at, field("services"), message);
        }
        slots.extend(fitting.into_iter().filter(counts).map(Slot::new));
    }
    with_labels(writer, index, rule, slots)
}

impl Slot {
    pub(super) fn new(place: &Backend) -> Self {
        Self {
            labels: place.labels.clone(),
            ports: place.ports.clone(),
            place: Some(place.clone()),
        }
    }
}

/// A pattern of services means those that are known.
fn note_patterns(
    writer: &mut Writer<'_>,
    index: usize,
    rule: &AccessRule,
    names: &[&Constraint],
    fitting: &[&Backend],
) {
    let named = names.iter().flat_map(|name| &name.values);
    let mut texts = rule.services.iter().chain(named);
    if let Some(pattern) = texts.find(|text| is_pattern(text)) {
        let known: Vec<_> = fitting.iter().map(|place| place.service.as_str()).collect();
        let known = match known.as_slice() {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        let message = format!(
            "stands for the services known here that it covered ({known}); --service NAME adds \
             others"
        );
        writer.note(pattern.at(), format!("spec.rules[{index}]"), message);
    }
}

/// `destination.labels[..]` becomes part of the selector.
fn with_labels(
    writer: &mut Writer<'_>,
    index: usize,
    rule: &AccessRule,
    mut slots: Vec<Slot>,
) -> Vec<Slot> {
    for constraint in &rule.constraints {
        let Some(label) = bracketed(&constraint.key, "destination.labels") else {
            continue;
        };
        let field = format!("spec.rules[{index}].constraints");
        let mut more = Vec::new();
        for value in &constraint.values {
            if is_pattern(value) {
                let message = "a selector takes no pattern; list the values";
                writer.refuse(value.at(), &field, message);
                continue;
            }
            for slot in &slots {
                let known = slot.labels.get(label);
                if known.is_some_and(|known| **known != **value) {
                    let message = "is another value than the service's workloads carry: the rule \
                        grants nothing there";
                    writer.note(value.at(), &field, message);
                    continue;
                }
                let mut slot = slot.clone();
                slot.labels
                    .insert(label.to_owned(), value.as_str().to_owned());
                more.push(slot);
            }
        }
        slots = more;
    }
    slots
}

/// What a rule lets do; `None`: nothing on these ports.
fn operation(
    writer: &mut Writer<'_>,
    index: usize,
    rule: &AccessRule,
    slot: &Slot,
) -> Option<Part> {
    let mut part = Part {
        is_http: !(rule.methods.is_empty() && rule.not_methods.is_empty()),
        ..Part::default()
    };
    part.field("methods", &rule.methods);
    part.field("notMethods", &rule.not_methods);
    let written: BTreeSet<u16> = rule.ports.iter().copied().collect();
    let ports: BTreeSet<u16> = match (slot.ports.is_empty(), written.is_empty()) {
        (true, _) => written,
        (false, true) => slot.ports.clone(),
        (false, false) => slot.ports.intersection(&written).copied().collect(),
    };
    if ports.is_empty() && !rule.ports.is_empty() {
        let message = "are no ports of the service: the rule grants nothing there";
        writer.note(&rule.at, format!("spec.rules[{index}].ports"), message);
        return None;
    }
    part.field("ports", &ports);
    part.field("notPorts", rule.not_ports.iter().collect::<BTreeSet<_>>());
    // Hosts were compared with case and paths with their query, as these headers still are; `hosts`
    // and `paths` are not.
    let (host, path) = ("request.headers[:authority]", "request.headers[:path]");
    part.when(host, &rule.hosts);
    part.when_not(host, &rule.not_hosts);
    part.when(path, &rule.paths);
    part.when_not(path, &rule.not_paths);
    for constraint in &rule.constraints {
        run_constraint(writer, index, constraint, &mut part);
    }
    Some(part)
}

/// Constraints on what a request brings.
fn run_constraint(writer: &mut Writer<'_>, index: usize, constraint: &Constraint, part: &mut Part) {
    let key = &*constraint.key;
    let field = format!("spec.rules[{index}].constraints");
    let values = &constraint.values;
    match key {
        // The star took the empty name, too, which a connection without one has.
        "connection.sni" if values.iter().any(|value| &**value == "*") => {}
        "connection.sni" | "destination.ip" | "destination.port" => part.when(key, values),
        _ if bracketed(key, "request.headers").is_some() => part.when(key, values),
        _ if key.starts_with("experimental.envoy.filters.") => {
            for value in values {
                let element = value
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                let inner = element.unwrap_or(value);
                if inner.contains(['[', ']']) {
                    let message = "a value with brackets inside cannot be written today";
                    writer.refuse(value.at(), &field, message);
                }
                if inner == "*" {
                    let message = "took the empty text, too; today it does not";
                    writer.note(value.at(), &field, message);
                }
            }
            part.when(key, values);
        }
        // Decided when the rule was read.
        _ => {}
    }
}
