//! Checks rules that ask for HTTP on ports without HTTP. On raw TCP an ALLOW drops such a rule, and
//! a DENY drops the HTTP fields and keeps the rest.

use std::collections::BTreeMap;

use super::providers::named;
use crate::istio::{Action, AuthorizationPolicy, ProviderKind, Rule, Text};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::rules::lists::{self, Field, List};
use crate::vet::world::known::{Scope, Selects, World};
use crate::vet::world::protocol::{Protocols, customary};

/// Adds notes about ports that do not speak HTTP.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for policy in &world.resources.authorization_policies {
        let ports = Ports::new(world, policy.scope());
        for rule in &policy.rules {
            tcp_ports(&ports, policy, rule, notes);
        }
    }
}

/// What the ports of the workloads speak that a policy is for.
struct Ports<'r> {
    world: World<'r>,
    scope: Scope<'r>,
    /// What is known of workloads that are not.
    by_services: Protocols,
    /// Those that are known to speak something else than HTTP.
    others: BTreeMap<u16, &'static str>,
}

impl<'r> Ports<'r> {
    fn new(world: World<'r>, scope: Scope<'r>) -> Self {
        let known = world.selected_known(scope);
        let by_services = world.said_by_services(scope);
        let others = known.flat_map(|known| known.protocols.others());
        Self {
            world,
            scope,
            others: others.chain(by_services.others()).collect(),
            by_services,
        }
    }

    /// What a port speaks, when that is not HTTP: as the services of known workloads say, else by
    /// custom.
    fn spoken(&self, port: u16) -> Option<&'static str> {
        let known = self.others.get(&port).copied();
        known.or_else(|| {
            let mut workloads = self.world.selected_known(self.scope);
            let is_known =
                workloads.any(|known| known.protocols.knows(port)) || self.by_services.knows(port);
            customary(port).filter(|_| !is_known)
        })
    }
}

fn tcp_ports(ports: &Ports<'_>, policy: &AuthorizationPolicy, rule: &Rule, notes: &mut Notes) {
    let entries = entries(rule);
    let all = entries.iter().flatten();
    // One entry that asks for HTTP takes the whole of an ALLOW rule off raw TCP, its siblings with
    // it.
    let anywhere = asks_for_http(all).filter(|_| policy.action == Action::Allow);
    if let Some(name) = policy.provider.as_ref()
        && asks_http_provider(ports.world, policy)
        && let Some((port, what)) = entries.iter().find_map(|lists| concerned(ports, lists))
    {
        let message = format!(
            "port {port} speaks {what}, about which `{name}`, an HTTP provider, is not asked: connections pass without it"
        );
        let help =
            "ask a provider by envoyExtAuthzGrpc, or refuse by DENY what need not come in there";
        notes.add(
            Code::ProviderNotAsked,
            &policy.meta,
            name.at(),
            message,
            help,
        );
    }
    for lists in &entries {
        let asked = asks_for_http(lists).or(anywhere);
        let Some(((list, value), (port, what))) = asked.zip(concerned(ports, lists)) else {
            continue;
        };
        if asks_http_provider(ports.world, policy) {
            continue;
        }
        let effect = match policy.action {
            Action::Allow => "the whole rule does not count there, and allows nothing",
            Action::Deny => "it is left out there, and the rule refuses every connection",
            Action::Audit | Action::Custom => {
                "it is left out there, and the rule takes every connection"
            }
        };
        let (meta, key) = (&policy.meta, list.first_name());
        let message =
            format!("port {port} speaks {what}, of which `{key}` knows nothing: {effect}");
        let help = "write for this port a rule of its own, with sources and ports only";
        notes.add(Code::HttpOnTcpPort, meta, value.at(), message, help);
    }
}

/// Whether a policy has a provider asked that is left out of raw TCP.
fn asks_http_provider(world: World<'_>, policy: &AuthorizationPolicy) -> bool {
    let name = policy.provider.as_ref();
    let provider = name.and_then(|name| named(world, name));
    provider.is_some_and(|provider| matches!(provider.kind, ProviderKind::ExtAuthzHttp { .. }))
}

/// The first list that only HTTP has, and its first value.
fn asks_for_http<'l, 'r: 'l>(
    lists: impl IntoIterator<Item = &'l List<'r>>,
) -> Option<(&'l List<'r>, &'r Text)> {
    let mut lists = lists.into_iter().filter(|list| list.field.is_http());
    lists.find_map(|list| Some((list, list.first()?)))
}

/// The first port that these lists are for and that does not speak HTTP.
fn concerned(ports: &Ports<'_>, lists: &[List<'_>]) -> Option<(u16, &'static str)> {
    let of_ports = || lists.iter().filter(|list| list.field == Field::Port);
    let is_for = |port: u16| {
        let names = |values: &[Text]| values.iter().any(|value| value.parse() == Ok(port));
        of_ports()
            .all(|list| (list.values.is_empty() || names(list.values)) && !names(list.not_values))
    };
    let mut others = ports.others.iter();
    let known = others.find(|(port, _)| is_for(**port));
    let named = || {
        let values = of_ports().flat_map(|list| list.values);
        let mut named = values.filter_map(|value| value.parse().ok());
        named.find_map(|port| Some((port, ports.spoken(port).filter(|_| is_for(port))?)))
    };
    known.map(|(port, what)| (*port, *what)).or_else(named)
}

/// For each operation of a rule the lists that hold for it.
fn entries(rule: &Rule) -> Vec<Vec<List<'_>>> {
    let sources = rule.from.iter().flat_map(lists::source);
    let common: Vec<_> = sources
        .chain(rule.when.iter().map(lists::condition))
        .collect();
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
