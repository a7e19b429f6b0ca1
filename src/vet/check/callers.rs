//! Checks which callers a rule admits: identities without mutual TLS, wildcards, negative lists.

use crate::identity::Workload;
use crate::istio::{
    Action, AuthorizationPolicy, Meta, MtlsMode, Operation, PeerAuthentication, Position, Rule,
    ServiceRoleBinding, Text,
};
use crate::policy::Domains;
use crate::vet::Code;
use crate::vet::report::note::name_and_place;
use crate::vet::report::notes::Notes;
use crate::vet::rules::lists::{self, Field, List};
use crate::vet::world::known::{Scope, Selects, World};

/// Adds notes about callers.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for policy in &world.resources.authorization_policies {
        for rule in &policy.rules {
            if policy.action == Action::Allow {
                negatives(&policy.meta, rule, notes);
                wildcards(world, &policy.meta, rule, notes);
            }
            if policy.action == Action::Deny {
                positives(&policy.meta, rule, notes);
            }
            identities(world, policy, rule, notes);
        }
    }
    for binding in &world.resources.service_role_bindings {
        everyone(binding, notes);
        users(world, binding, notes);
    }
    let peers = world.resources.peer_authentications.iter();
    for peer in peers.filter(|peer| is_ignored(world, peer)) {
        let (meta, at) = (&peer.meta, &peer.selector.at);
        let message = "this PeerAuthentication is ignored: in the root namespace only one without a selector counts";
        let help = "move it to the namespace of the workloads, or leave the selector out";
        notes.add(Code::PeerSelectorInRoot, meta, at, message, help);
    }
}

/// Negative lists of an ALLOW rule without a positive list for the same field.
fn negatives(meta: &Meta, rule: &Rule, notes: &mut Notes) {
    for list in lists::lone_negatives(rule) {
        let Some(first) = list.not_values.first() else {
            continue;
        };
        let (not_name, values) = (list.not_name, texts(list.not_values));
        let message = if list.field.may_be_absent() {
            let what = match list.field {
                Field::Header => "a request without the header",
                Field::ServerName => "a connection without a server name",
                Field::Claim => "a token without the claim",
                Field::RequestPrincipal => "a request without a token",
                _ => "a plaintext request, which has no identity,",
            };
            format!(
                "`{not_name}` holds also for what is absent: {what} passes as one that is not {values}"
            )
        } else {
            format!(
                "`{not_name}` allows whatever is not {values}, also what will only be added later"
            )
        };
        let help = "allow by positive lists, and refuse what must not pass with a DENY policy";
        notes.add(Code::NegativeInAllow, meta, first.at(), message, help);
    }
}

/// Notes the values of a DENY rule that a caller can evade by leaving them out. Tokens are not meant:
/// a caller that leaves out its token gets only what an ALLOW gives to every caller.
fn positives(meta: &Meta, rule: &Rule, notes: &mut Notes) {
    for list in lists::rule(rule) {
        let what = match list.field {
            Field::Header => "the header",
            Field::ServerName => "the server name",
            _ => continue,
        };
        // The rule names a value that must be present.
        let Some(first) = list.values.first().filter(|first| first.as_str() != "*") else {
            continue;
        };
        let values = texts(list.values);
        let message = format!(
            "`{}` is what the caller sends: a request that leaves {what} out, or writes it otherwise than {values}, is not denied",
            list.name
        );
        let help = "deny by notValues all that is not good, or allow by values what is";
        notes.add(Code::PositiveInDeny, meta, first.at(), message, help);
    }
}

/// Whether some rule would mean something else if `cluster.local`, which is assumed, were not our
/// trust domain.
pub(in crate::vet) fn assume_trust_domain(world: World<'_>) -> bool {
    let domains = Domains::new(world.mesh, None);
    let decides = |list: List<'_>| {
        let mut values = list.values.iter().chain(list.not_values);
        match list.field {
            Field::Principal => values.any(|value| domains.decide_principal(value)),
            Field::TrustDomain => values.any(|value| domains.decide_trust_domain(value)),
            _ => false,
        }
    };
    let resources = world.resources;
    let mut policies = resources.authorization_policies.iter();
    let bindings = resources.service_role_bindings.iter();
    let mut subjects = bindings.flat_map(|binding| &binding.subjects);
    policies.any(|policy| lists::policy(policy).any(decides))
        || subjects.any(|subject| lists::subject(subject).into_iter().any(decides))
}

/// A source that takes every identity there is, and asks for nothing else.
fn wildcards(world: World<'_>, meta: &Meta, rule: &Rule, notes: &mut Notes) {
    let domain = world.mesh.trust_domain_or(None);
    let everyone = [
        "*".to_owned(),
        format!("{domain}/*"),
        format!("{domain}/ns/*"),
        "cluster.local/*".to_owned(),
        "cluster.local/ns/*".to_owned(),
    ];
    let takes_all = |field: Field, value: &str| match field {
        Field::Principal => everyone.iter().any(|all| all == value),
        Field::Namespace => value == "*",
        Field::TrustDomain => value == "*" || value == domain,
        _ => false,
    };
    let conditions: Vec<List<'_>> = rule.when.iter().map(lists::condition).collect();
    let mut sources: Vec<Vec<List<'_>>> = rule.from.iter().map(lists::source).collect();
    if sources.is_empty() {
        sources.push(Vec::new());
    }
    for mut source in sources {
        source.extend(&conditions);
        let of_callers = |list: &&List<'_>| {
            list.field.is_identity() || list.field.is_token() || list.field == Field::Ip
        };
        let mut wide = None;
        let mut is_narrowed = false;
        for list in source.iter().filter(of_callers) {
            let mut values = list.values.iter();
            let all = values.find(|value| takes_all(list.field, value));
            wide = wide.or(all);
            is_narrowed |= all.is_none() || !list.not_values.is_empty();
        }
        if let Some(value) = wide.filter(|_| !is_narrowed) {
            let message = format!(
                "`{value}` admits every identity of the mesh, whatever its namespace and service account"
            );
            let help = "name the callers, or their namespaces";
            notes.add(Code::AdmitsEveryIdentity, meta, value.at(), message, help);
        }
    }
}

/// Identities that a rule asks for where there are none, or not always.
fn identities(world: World<'_>, policy: &AuthorizationPolicy, rule: &Rule, notes: &mut Notes) {
    let mut all = lists::rule(rule).filter(|list| list.field.is_identity());
    let Some(first) = all.find_map(|list| list.first()) else {
        return;
    };
    let negatives = lists::lone_negatives(rule);
    let negative = negatives.iter().find(|list| list.field.is_identity());
    let is_open = match policy.action {
        Action::Allow => negative.is_some(),
        Action::Deny => negative.is_none(),
        Action::Audit | Action::Custom => false,
    };
    let Some(plaintext) = weakest(world, policy.scope(), rule) else {
        return;
    };
    // A default mode is noted only where it lets a caller in.
    if plaintext.by.is_none() && !is_open {
        return;
    }
    let is_off = plaintext.mode == MtlsMode::Disable;
    let code = match is_off {
        true => Code::IdentityWithoutMtls,
        false => Code::IdentityInPermissive,
    };
    let effect = match negative {
        None if is_off => "no request has an identity, so this matches none",
        Some(_) if is_off => "no request has an identity, so the negative list holds for each",
        None if policy.action == Action::Deny => {
            "a caller that comes in plaintext has no identity and is not denied"
        }
        None => "a caller that comes in plaintext has no identity and is not matched",
        Some(_) => {
            "a caller that comes in plaintext has no identity, so the negative list holds for it"
        }
    };
    let of_negative = negative.filter(|_| is_open).and_then(|list| list.first());
    let at = of_negative.unwrap_or(first).at();
    let message = format!("{}: {effect}", plaintext.why);
    let help = "demand mutual TLS with a PeerAuthentication of mode STRICT";
    notes.add(code, &policy.meta, at, message, help);
}

/// A mode under which plaintext comes in.
struct Plaintext {
    mode: MtlsMode,
    /// Who says so.
    by: Option<Position>,
    why: String,
}

/// The weakest mode on any workload and port that a rule may concern; `None`: mutual TLS
/// everywhere.
fn weakest(world: World<'_>, scope: Scope<'_>, rule: &Rule) -> Option<Plaintext> {
    if scope.is_attached || is_legacy(world, scope) {
        return None;
    }
    let found: Vec<Plaintext> = if world.is_known(scope) {
        let of_workload = |workload: &Workload| {
            let peers = world.resources.peer_authentications.iter();
            let peers = peers.filter(|peer| world.selects(peer.scope(), workload));
            modes(world, peers.map(|peer| &**peer), rule)
        };
        world.selected(scope).flat_map(of_workload).collect()
    } else {
        let peers = world.resources.peer_authentications.iter();
        let peers = peers.filter(|peer| world.may_meet(peer.scope(), scope));
        let peers: Vec<&PeerAuthentication> = peers.map(|peer| &**peer).collect();
        let is_narrow = |peer: &&PeerAuthentication| !peer.scope().is_wide();
        let wide = || peers.iter().copied().filter(|peer| !is_narrow(peer));
        // From the root namespace any namespace may be meant: look at each one that has a resource.
        let mut found = Vec::new();
        for narrow in peers.iter().copied().filter(is_narrow) {
            let own = wide().filter(|peer| {
                peer.meta.namespace == narrow.meta.namespace || world.is_root(&peer.meta.namespace)
            });
            found.extend(modes(world, own.chain([narrow]), rule));
        }
        let is_covered = peers.iter().any(|peer| {
            is_narrow(peer) && !is_ignored(world, peer) && world.covers(peer.scope(), scope)
        });
        if !is_covered {
            found.extend(modes(world, wide(), rule));
        }
        found
    };
    let weakness =
        |plaintext: &Plaintext| (plaintext.mode != MtlsMode::Disable, plaintext.by.is_none());
    found.into_iter().min_by_key(weakness)
}

/// Whether mutual TLS is up to the resources of 2018.
fn is_legacy(world: World<'_>, scope: Scope<'_>) -> bool {
    let mut policies = world.resources.legacy_policies.iter();
    let peers = world.resources.peer_authentications.iter();
    let mut peers = peers.filter(|peer| world.may_meet(peer.scope(), scope));
    peers.next().is_none() && policies.any(|policy| world.reaches(&policy.meta.namespace, scope))
}

/// The modes under which plaintext comes in, of a workload that these PeerAuthentications are for.
fn modes<'r>(
    world: World<'_>,
    peers: impl Iterator<Item = &'r PeerAuthentication>,
    rule: &Rule,
) -> Vec<Plaintext> {
    let mut peers: Vec<_> = peers.filter(|peer| !is_ignored(world, peer)).collect();
    // Mesh, namespace, workload: each later one overwrites.
    peers.sort_by_key(|peer| {
        (
            !world.is_root(&peer.meta.namespace),
            !peer.scope().is_wide(),
        )
    });
    let (mut mode, mut by) = (MtlsMode::Permissive, None);
    for peer in &peers {
        if peer.mode != MtlsMode::Unset {
            (mode, by) = (peer.mode, Some(*peer));
        }
    }
    let mut found = Vec::new();
    let mut say = |mode: MtlsMode, by: Option<&PeerAuthentication>, port: Option<u16>| {
        let word = match mode {
            MtlsMode::Disable => "DISABLE",
            _ => "PERMISSIVE",
        };
        let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
        let why = match by.map(|peer| name_and_place(&peer.meta)) {
            Some(peer) => format!("{peer} sets mutual TLS to {word}{port}"),
            None => "no PeerAuthentication demands mutual TLS, and Istio's default is PERMISSIVE"
                .to_owned(),
        };
        if mode != MtlsMode::Strict {
            found.push(Plaintext {
                mode,
                by: by.map(|peer| peer.meta.at.clone()),
                why,
            });
        }
    };
    say(mode, by, None);
    let ports = ports(rule);
    if let Some(narrow) = peers.last() {
        for (port, port_mode) in &narrow.port_level {
            let concerns = ports.as_ref().is_none_or(|ports| ports.contains(port));
            if concerns && *port_mode != MtlsMode::Unset {
                say(*port_mode, Some(narrow), Some(*port));
            }
        }
    }
    found
}

/// The ports that a rule is for; `None`: all, or it is not known.
fn ports(rule: &Rule) -> Option<Vec<u16>> {
    let of_operation = |operation: &Operation| -> Option<Vec<u16>> {
        let ports = operation.ports.iter();
        let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
        (!ports.is_empty()).then_some(ports)
    };
    if rule.to.is_empty() {
        return None;
    }
    let all: Option<Vec<Vec<u16>>> = rule.to.iter().map(of_operation).collect();
    all.map(|ports| ports.concat())
}

/// In the root namespace only what has no selector counts.
fn is_ignored(world: World<'_>, peer: &PeerAuthentication) -> bool {
    world.is_root(&peer.meta.namespace) && !peer.scope().is_wide()
}

/// A subject of 2018 that is anyone, with a certificate or without.
fn everyone(binding: &ServiceRoleBinding, notes: &mut Notes) {
    for subject in &binding.subjects {
        let narrowed = subject.group.is_some()
            || !subject.properties.is_empty()
            || [
                &subject.groups,
                &subject.namespaces,
                &subject.ips,
                &subject.not_names,
                &subject.not_groups,
                &subject.not_namespaces,
                &subject.not_ips,
            ]
            .iter()
            .any(|list| !list.is_empty());
        let mut users = subject.user.iter().chain(&subject.names);
        let all =
            |user: &&Text| matches!(user.as_str(), "*" | "allUsers" | "allAuthenticatedUsers");
        let Some(user) = users.find(all).filter(|_| !narrowed) else {
            continue;
        };
        let whom = if user.as_str() == "allAuthenticatedUsers" {
            "every identity of the mesh"
        } else {
            "anyone, also callers without any identity"
        };
        let meta = &binding.meta;
        let message = format!("`{user}` admits {whom}");
        let help = "name the callers, or their namespaces";
        notes.add(Code::AdmitsEveryIdentity, meta, user.at(), message, help);
    }
}

/// Subjects of 2018 with an identity, where the Policy of their namespace lets no identity in, or
/// lets plaintext in as well.
fn users(world: World<'_>, binding: &ServiceRoleBinding, notes: &mut Notes) {
    let namespace = &binding.meta.namespace;
    let policies = || world.resources.legacy_policies.iter();
    let mut own = policies().filter(|policy| policy.meta.namespace == *namespace);
    let mut peers = world.resources.peer_authentications.iter();
    let replaced =
        peers.any(|peer| peer.meta.namespace == *namespace || world.is_root(&peer.meta.namespace));
    // Which Policy is effective for a service with a Policy of its own is not known.
    if replaced || own.clone().any(|policy| !policy.targets.is_empty()) {
        return;
    }
    let of_mesh = || policies().find(|policy| policy.meta.namespace.is_empty());
    let Some(policy) = own.next().or_else(of_mesh) else {
        return;
    };
    let (code, effect) = match policy.mtls.as_ref().map(|mtls| mtls.mode) {
        None => (
            Code::IdentityWithoutMtls,
            "turns mutual TLS off: no caller has an identity, so this matches no caller",
        ),
        Some(MtlsMode::Permissive) => (
            Code::IdentityInPermissive,
            "lets plaintext in, whose caller has no identity and is not matched",
        ),
        Some(_) => return,
    };
    for subject in &binding.subjects {
        let is_name = |user: &&Text| !matches!(user.as_str(), "*" | "allUsers");
        let names = subject.user.iter().chain(&subject.names);
        if let Some(user) = names.chain(&subject.namespaces).find(is_name) {
            let message = format!("{} {effect}", name_and_place(&policy.meta));
            let help = "write `peers: [{mtls: {}}]` in the Policy";
            notes.add(code, &binding.meta, user.at(), message, help);
        }
    }
}

/// Values as a sentence names them.
fn texts(values: &[Text]) -> String {
    let shown = values.iter().take(3).map(|value| format!("`{value}`"));
    let shown: Vec<String> = shown.collect();
    let more = if values.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
