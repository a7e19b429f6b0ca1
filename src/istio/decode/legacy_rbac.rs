//! Decodes ClusterRbacConfig, ServiceRole and ServiceRoleBinding of 2018.

use std::collections::BTreeMap;

use super::meta::no_dry_run;
use super::value::{self, required};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    AccessRule, Constraint, EnforcementMode, Meta, RbacConfig, RbacMode, RbacTarget, ServiceRole,
    ServiceRoleBinding, Subject, Text,
};

const ENFORCEMENT: &[(&str, EnforcementMode)] = &[
    ("ENFORCED", EnforcementMode::Enforced),
    ("PERMISSIVE", EnforcementMode::Permissive),
];
const ACCESS_RULE: &[&str] = &[
    "services",
    "hosts",
    "notHosts",
    "paths",
    "notPaths",
    "methods",
    "notMethods",
    "ports",
    "notPorts",
    "constraints",
];
const SUBJECT: &[&str] = &[
    "user",
    "group",
    "names",
    "notNames",
    "groups",
    "notGroups",
    "namespaces",
    "notNamespaces",
    "ips",
    "notIps",
    "properties",
];

/// `ClusterRbacConfig` or `RbacConfig`, `spec`.
pub(in crate::istio) fn rbac_config(meta: Meta, spec: &Cursor<'_, '_>) -> Option<RbacConfig> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(&["mode", "inclusion", "exclusion", "enforcementMode"])?;
    if meta.name != "default" {
        spec.wrong(format!(
            "a {} must be named `default`; rename it",
            meta.kind
        ));
    }
    let mode = fields.word(
        "mode",
        &[
            ("OFF", RbacMode::Off),
            ("ON", RbacMode::On),
            ("ON_WITH_INCLUSION", RbacMode::OnWithInclusion),
            ("ON_WITH_EXCLUSION", RbacMode::OnWithExclusion),
        ],
    );
    let due = match mode {
        RbacMode::OnWithInclusion => Some("inclusion"),
        RbacMode::OnWithExclusion => Some("exclusion"),
        RbacMode::Off | RbacMode::On => None,
    };
    if let Some(due) = due
        && fields.get(due).is_none()
    {
        spec.missing(due, "is missing; this mode needs it");
    }
    Some(RbacConfig {
        mode,
        inclusion: rbac_target(fields, "inclusion"),
        exclusion: rbac_target(fields, "exclusion"),
        enforcement_mode: fields.word("enforcementMode", ENFORCEMENT),
        meta,
    })
}

fn rbac_target(fields: Fields<'_, '_>, name: &'static str) -> RbacTarget {
    let mut read = RbacTarget::default();
    if let Some(target) = fields.get(name)
        && let Some(fields) = target.fields(&["services", "namespaces"])
    {
        read.services = fields.texts("services", value::anything);
        read.namespaces = fields.texts("namespaces", value::anything);
    }
    read
}

/// `ServiceRole`, `spec`.
pub(in crate::istio) fn service_role(meta: Meta, spec: &Cursor<'_, '_>) -> Option<ServiceRole> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(&["rules"])?;
    if fields.listed("rules").is_none() {
        spec.missing("rules", "is missing; a role without rules grants nothing");
    }
    Some(ServiceRole {
        rules: fields.each("rules", access_rule),
        meta,
    })
}

fn access_rule(at: &Cursor<'_, '_>) -> Option<AccessRule> {
    let fields = at.fields(ACCESS_RULE)?;
    if fields.listed("services").is_none() {
        at.missing(
            "services",
            "is missing, which meant every service or none, depending on the version; write [\"*\"] or the services",
        );
    }
    for (one, other) in [("methods", "notMethods"), ("ports", "notPorts")] {
        if let Some(not) = fields.listed(other)
            && fields.listed(one).is_some()
        {
            not.wrong(format!("cannot be combined with {one}; keep one"));
        }
    }
    let any = |name| fields.texts(name, value::anything);
    let mut ports = ["ports", "notPorts"].into_iter();
    let has_ports = ports.any(|name| fields.listed(name).is_some());
    Some(AccessRule {
        services: any("services"),
        hosts: any("hosts"),
        not_hosts: any("notHosts"),
        paths: any("paths"),
        not_paths: any("notPaths"),
        methods: any("methods"),
        not_methods: any("notMethods"),
        ports: fields.each("ports", |port| port.port()),
        not_ports: fields.each("notPorts", |port| port.port()),
        constraints: fields.each("constraints", |at| constraint(at, has_ports)),
        at: at.at(),
    })
}

fn constraint(at: &Cursor<'_, '_>, has_ports: bool) -> Option<Constraint> {
    let fields = at.fields(&["key", "values"])?;
    let key = required(fields, "key", |at, key| {
        let plain = [
            "destination.ip",
            "destination.port",
            "destination.name",
            "destination.namespace",
            "destination.user",
            "connection.sni",
        ];
        let keyed = bracketed(key, "destination.labels")
            || bracketed(key, "request.headers")
            || (key.starts_with("experimental.envoy.filters.") && key.ends_with(']'));
        if !keyed && !plain.contains(&key) {
            at.wrong(format!(
                "unknown key `{key}`; known are {}, destination.labels[..], request.headers[..], experimental.envoy.filters.*[..]",
                plain.join(", ")
            ));
        }
    });
    if has_ports && key.as_deref() == Some("destination.port") {
        at.wrong("destination.port cannot be combined with ports or notPorts; keep one");
    }
    if fields.listed("values").is_none() {
        at.missing("values", "is missing; write at least one value");
    }
    let check: fn(&Cursor<'_, '_>, &str) = match key.as_deref() {
        Some("destination.ip") => value::ip_block,
        Some("destination.port") => value::port,
        _ => value::anything,
    };
    Some(Constraint {
        values: fields.texts("values", check),
        key: key?,
    })
}

fn bracketed(key: &str, name: &str) -> bool {
    key.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('['))
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| !inner.is_empty())
}

/// `ServiceRoleBinding`, `spec`.
pub(in crate::istio) fn service_role_binding(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<ServiceRoleBinding> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(&["subjects", "roleRef", "role", "actions", "mode"])?;
    if fields.listed("subjects").is_none() {
        let message = "is missing; a binding without subjects grants nothing";
        spec.missing("subjects", message);
    }
    let written = ["roleRef", "role", "actions"].into_iter();
    if written.filter(|name| fields.listed(name).is_some()).count() != 1 {
        spec.wrong("write exactly one of roleRef, role and actions");
    }
    Some(ServiceRoleBinding {
        subjects: fields.each("subjects", subject),
        role: role(fields).unwrap_or_default(),
        actions: fields.each("actions", access_rule),
        mode: fields.word("mode", ENFORCEMENT),
        meta,
    })
}

fn role(fields: Fields<'_, '_>) -> Option<Text> {
    let Some(reference) = fields.get("roleRef") else {
        return fields.filled("role");
    };
    let fields = reference.fields(&["kind", "name"])?;
    if let Some(kind) = fields.demand("kind", "is missing; write ServiceRole") {
        kind.word(&[("ServiceRole", ())]);
    }
    required(fields, "name", value::anything)
}

fn subject(at: &Cursor<'_, '_>) -> Option<Subject> {
    let fields = at.fields(SUBJECT)?;
    let any = |name| fields.texts(name, value::anything);
    let names = |name| {
        fields.texts(name, |at, text| {
            if text == "*" {
                at.wrong("`*` is ambiguous here; write allUsers or allAuthenticatedUsers");
            }
        })
    };
    let says_nothing = |value: Cursor<'_, '_>| value.node().entries().is_some_and(<[_]>::is_empty);
    let mut written = SUBJECT.iter().filter_map(|name| fields.listed(name));
    if written.all(says_nothing) {
        at.wrong("is empty and so matches no caller; write for example a user");
    }
    Some(Subject {
        user: fields.filled("user"),
        group: fields.filled("group"),
        names: names("names"),
        not_names: names("notNames"),
        groups: any("groups"),
        not_groups: any("notGroups"),
        namespaces: any("namespaces"),
        not_namespaces: any("notNamespaces"),
        ips: fields.texts("ips", value::ip_block),
        not_ips: fields.texts("notIps", value::ip_block),
        properties: properties(fields),
        at: at.at(),
    })
}

/// The fields that say the same as a property.
const DOUBLED: &[(&str, &[&str])] = &[
    ("source.principal", &["user", "names", "notNames"]),
    ("source.ip", &["ips", "notIps"]),
    ("source.namespace", &["namespaces", "notNamespaces"]),
    (
        "request.auth.claims[groups]",
        &["group", "groups", "notGroups"],
    ),
];

fn properties(fields: Fields<'_, '_>) -> BTreeMap<String, Text> {
    let mut result = BTreeMap::new();
    let Some(properties) = fields.get("properties") else {
        return result;
    };
    for (key, value) in properties.pairs() {
        let Some(text) = value.filled() else { continue };
        let same = DOUBLED.iter().filter(|(name, _)| *name == key);
        let mut same = same.flat_map(|(_, names)| *names);
        if let Some(name) = same.find(|name| fields.listed(name).is_some()) {
            value.wrong(format!("says the same as {name}; keep one"));
        }
        if key == "source.ip" {
            value::ip_block(&value, &text);
        }
        let known = [
            "source.principal",
            "source.namespace",
            "source.ip",
            "request.auth.principal",
            "request.auth.audiences",
            "request.auth.presenter",
        ];
        let keyed = bracketed(key, "request.auth.claims") || bracketed(key, "request.headers");
        if !keyed && !known.contains(&key) {
            value.note("is a property that no caller has, so this subject matches no caller");
        }
        result.insert(key.to_owned(), text);
    }
    result
}
