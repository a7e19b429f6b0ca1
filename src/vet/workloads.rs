//! Which workloads resources are for, and which protocol these speak.

use super::Code;
use super::lists::{self, Field};
use super::notes::Notes;
use super::world::{Scope, World};
use crate::identity::Workload;
use crate::istio::{
    Action, AuthorizationPolicy, MeshConfig, Meta, ProviderKind, Resources, Rule, Selector, Text,
};

/// Adds notes about selectors, ports and providers.
pub(super) fn check(world: World<'_>, notes: &mut Notes) {
    let Resources {
        authorization_policies,
        request_authentications,
        peer_authentications,
        ..
    } = world.resources;
    for policy in authorization_policies {
        selector(
            world,
            &policy.meta,
            &policy.selector,
            (&**policy).into(),
            notes,
        );
        for rule in &policy.rules {
            tcp_ports(world, policy, rule, notes);
        }
        if world.mesh_is_known {
            provider(world.mesh, policy, notes);
        }
    }
    for resource in request_authentications {
        selector(
            world,
            &resource.meta,
            &resource.selector,
            (&**resource).into(),
            notes,
        );
    }
    for resource in peer_authentications {
        selector(
            world,
            &resource.meta,
            &resource.selector,
            (&**resource).into(),
            notes,
        );
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
            "no ALLOW policy selects this workload, so whatever no DENY refuses is allowed",
            "write an ALLOW policy for it; one without rules allows nothing",
        );
    }
}

/// Rules that ask for HTTP where there is none: ALLOW drops them, DENY widens them.
fn tcp_ports(world: World<'_>, policy: &AuthorizationPolicy, rule: &Rule, notes: &mut Notes) {
    let scope = Scope::from(policy);
    for lists in operations(rule) {
        let http = lists.iter().find(|list| list.field.is_http());
        let Some((list, value)) = http.and_then(|list| Some((list, list.first()?))) else {
            continue;
        };
        let ports = lists.iter().filter(|list| list.field == Field::Port);
        let ports: Vec<&Text> = ports.flat_map(|list| list.values).collect();
        let named = ports.iter().find_map(|port| {
            let number = port.parse().ok()?;
            Some((number, spoken(world, scope, number)?))
        });
        let of_workload = || {
            let services = world.selected(scope).flat_map(Workload::services);
            let mut services = services.filter_map(|service| {
                Some((service.port, protocol(service.port_name.as_deref()?)?))
            });
            services.next()
        };
        let found = if ports.is_empty() {
            of_workload()
        } else {
            named
        };
        let Some((port, what)) = found else { continue };
        let effect = match policy.action {
            Action::Allow => "this rule does not count there, and allows nothing",
            Action::Deny => "it is left out there, and the rule refuses every connection",
            Action::Audit | Action::Custom => {
                "it is left out there, and the rule takes every connection"
            }
        };
        let key = if list.values.is_empty() {
            list.not_name
        } else {
            list.name
        };
        let message =
            format!("port {port} speaks {what}, of which `{key}` knows nothing: {effect}");
        let help = "write for this port a rule of its own, with sources and ports only";
        notes.add(Code::HttpOnTcpPort, &policy.meta, value.at(), message, help);
    }
}

/// For each operation of a rule the lists that hold for it.
fn operations(rule: &Rule) -> Vec<Vec<lists::List<'_>>> {
    let mut common: Vec<_> = rule.from.iter().flat_map(lists::source).collect();
    common.extend(rule.when.iter().map(lists::condition));
    if rule.to.is_empty() {
        return vec![common];
    }
    let with_common = |operation| {
        let mut lists = lists::operation(operation);
        lists.extend(&common);
        lists
    };
    rule.to.iter().map(with_common).collect()
}

/// What other protocol than HTTP a port speaks: as the services of known workloads say, else by custom.
fn spoken(world: World<'_>, scope: Scope<'_>, port: u16) -> Option<&'static str> {
    let services = world.selected(scope).flat_map(Workload::services);
    let mut of_port = services.filter(|service| service.port == port).peekable();
    if of_port.peek().is_some() {
        return of_port.find_map(|service| protocol(service.port_name.as_deref()?));
    }
    let known = CUSTOMARY.iter().find(|(number, _)| *number == port);
    known.map(|(_, protocol)| *protocol)
}

/// Istio takes the protocol of a port from the start of its name.
fn protocol(port_name: &str) -> Option<&'static str> {
    let start = port_name.split('-').next().unwrap_or_default();
    let known = NOT_HTTP
        .iter()
        .find(|(name, _)| start.eq_ignore_ascii_case(name));
    known.map(|(_, protocol)| *protocol)
}

const NOT_HTTP: &[(&str, &str)] = &[
    ("tcp", "raw TCP"),
    ("tls", "TLS of its own"),
    ("https", "TLS of its own"),
    ("mongo", "MongoDB's protocol"),
    ("mysql", "MySQL's protocol"),
    ("redis", "Redis' protocol"),
    ("udp", "UDP"),
];

/// Ports on which hardly anybody speaks HTTP.
const CUSTOMARY: &[(u16, &str)] = &[
    (22, "SSH"),
    (25, "SMTP"),
    (1433, "SQL Server's protocol"),
    (1521, "Oracle's protocol"),
    (3306, "MySQL's protocol"),
    (5432, "PostgreSQL's protocol"),
    (5672, "AMQP"),
    (6379, "Redis' protocol"),
    (9042, "Cassandra's protocol"),
    (9092, "Kafka's protocol"),
    (11211, "memcached's protocol"),
    (27017, "MongoDB's protocol"),
];

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
