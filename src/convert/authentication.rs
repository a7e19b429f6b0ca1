use std::collections::{BTreeMap, BTreeSet};

use super::demand::Demand;
use super::services::Backend;
use super::subject::Callers;
use super::text::bracketed;
use super::writer::{Converted, Writer, selector};
use super::yaml::Yaml;
use crate::istio::{JwtRule, LegacyPolicy, MtlsMode, PortSelector, PrincipalBinding, Text};

/// The Policy of each place; the narrowest counts, and nothing was merged.
#[derive(Default)]
pub(super) struct Policies<'a> {
    mesh: Option<&'a LegacyPolicy>,
    namespaces: BTreeMap<&'a str, &'a LegacyPolicy>,
    /// By namespace, service and port.
    targets: BTreeMap<(&'a str, &'a str, Option<u16>), &'a LegacyPolicy>,
}

impl<'a> Policies<'a> {
    /// Sorts the Policies by what they cover.
    pub(super) fn new(writer: &mut Writer<'a>) -> Self {
        let mut policies = Self::default();
        for policy in &writer.resources.legacy_policies {
            let policy = &**policy;
            let namespace = policy.meta.namespace.as_str();
            if policy.meta.kind == "MeshPolicy" {
                policies.mesh = Some(older(writer, policies.mesh, policy));
            } else if policy.targets.is_empty() {
                let known = policies.namespaces.get(namespace).copied();
                let counts = older(writer, known, policy);
                policies.namespaces.insert(namespace, counts);
            }
            for target in &policy.targets {
                for port in ports(writer, &target.ports) {
                    let key = (namespace, &*target.name, port);
                    let known = policies.targets.get(&key).copied();
                    let counts = older(writer, known, policy);
                    policies.targets.insert(key, counts);
                }
            }
        }
        policies
    }

    /// The known callers of a backend, or of every service of the namespace.
    pub(super) fn callers(&self, namespace: &str, place: Option<&Backend>) -> Callers {
        let mut callers = Callers::default();
        let broad = self.namespaces.get(namespace).copied().or(self.mesh);
        let mut add = |policy: Option<&LegacyPolicy>| {
            let binding =
                policy.map_or_else(PrincipalBinding::default, |policy| policy.principal_binding);
            if !callers.bindings.contains(&binding) {
                callers.bindings.push(binding);
            }
            let origins = policy.into_iter().flat_map(|policy| &policy.origins);
            let issuers = origins.filter_map(|origin| origin.rule.issuer.as_deref());
            callers.issuers.extend(issuers.map(str::to_owned));
        };
        let own = self.targets.iter().filter(|((of, service, _), _)| {
            *of == namespace && place.is_none_or(|place| place.service == *service)
        });
        let mut has_own = false;
        for ((_, _, port), policy) in own {
            has_own |= place.is_some() && port.is_none();
            add(Some(policy));
        }
        if !has_own {
            add(broad);
        }
        callers
    }

    /// The broader Policies that this place's was taken instead of.
    fn broader(&self, key: (&str, &str, Option<u16>)) -> Vec<&'a LegacyPolicy> {
        let (namespace, service, port) = key;
        let of_service = port.and_then(|_| self.targets.get(&(namespace, service, None)));
        let broader = [
            of_service.copied(),
            self.namespaces.get(namespace).copied(),
            self.mesh,
        ];
        broader.into_iter().flatten().collect()
    }
}

/// Ports of a target; `None` means all.
fn ports(writer: &mut Writer<'_>, selectors: &[PortSelector]) -> Vec<Option<u16>> {
    if selectors.is_empty() {
        return vec![None];
    }
    let mut ports = Vec::new();
    for selector in selectors {
        match selector {
            PortSelector::Number(number) => ports.push(Some(*number)),
            PortSelector::Name(name) => {
                let message = "a port's name means nothing to portLevelMtls; write the number on \
                    which the workload listens";
                writer.refuse(name.at(), "spec.targets", message);
            }
        }
    }
    ports
}

/// The older of two Policies for one backend; unknown without creation times.
fn older<'a>(
    writer: &mut Writer<'_>,
    known: Option<&'a LegacyPolicy>,
    policy: &'a LegacyPolicy,
) -> &'a LegacyPolicy {
    let Some(known) = known else {
        return policy;
    };
    let age = |policy: &'a LegacyPolicy| (&policy.meta.created, &policy.meta.name);
    if known.meta.created.is_none() || policy.meta.created.is_none() {
        let message = format!(
            "covers what another covers (at {}), and without creation times neither is the older; \
             keep one",
            known.meta.at
        );
        writer.refuse(&policy.meta.at, "", message);
        return known;
    }
    let (first, second) = if age(policy) < age(known) {
        (policy, known)
    } else {
        (known, policy)
    };
    let message = format!(
        "is ignored where an older one (at {}) covers the same",
        first.meta.at
    );
    writer.note(&second.meta.at, "", message);
    first
}

/// Writes Policies as PeerAuthentications, RequestAuthentications and a DENY for requests without a
/// token.
pub(super) fn convert(writer: &mut Writer<'_>, policies: &Policies<'_>) {
    let Some(first) = writer.resources.legacy_policies.first() else {
        return;
    };
    let resources = writer.resources;
    let peers = resources.peer_authentications.iter().map(|peer| &peer.meta);
    let tokens = resources.request_authentications.iter();
    let tokens = tokens.map(|tokens| &tokens.meta);
    for meta in peers.chain(tokens) {
        let message = format!(
            "replaces parts of the Policies (the first at {}) where both apply, while converted \
             ones would be added to it; convert the old resources apart",
            first.meta.at
        );
        writer.refuse(&meta.at, "", message);
    }
    let root = writer.mesh.root_namespace.clone();
    if let Some(policy) = policies.mesh {
        let scope = Scope::all(&root, "default");
        scope.peers(writer, policy);
        scope.tokens(writer, policy, None);
    }
    for (namespace, policy) in &policies.namespaces {
        let scope = Scope::all(namespace, "default");
        check(writer, policy, policies.mesh);
        scope.peers(writer, policy);
        scope.tokens(writer, policy, Some(namespace));
    }
    target_peers(writer, policies);
    for (key, policy) in &policies.targets {
        let (namespace, service, port) = *key;
        let mut place = writer.services.find(service, namespace);
        check(writer, policy, policies.broader(*key));
        if let Some(port) = port {
            place.ports = BTreeSet::from([port]);
            if !policy.origins.is_empty() {
                let message = "was for single ports, and a RequestAuthentication is for all ports \
                    of a workload";
                writer.note(&policy.meta.at, "spec.targets", message);
            }
        }
        let several = policy.targets.len() > 1 || port.is_some();
        let name = match (several, port) {
            (false, _) => policy.meta.name.clone(),
            (true, None) => format!("{}-{service}", policy.meta.name),
            (true, Some(port)) => format!("{}-{service}-{port}", policy.meta.name),
        };
        let scope = Scope {
            namespace,
            name,
            labels: place.labels,
            ports: place.ports,
        };
        scope.tokens(writer, policy, Some(namespace));
    }
    writer.settle();
}

/// What a narrower Policy took back and today's resources cannot: a broader DENY, broader tokens.
fn check<'p>(
    writer: &mut Writer<'_>,
    policy: &LegacyPolicy,
    broader: impl IntoIterator<Item = &'p LegacyPolicy>,
) {
    for broad in broader {
        let (own, theirs) = (Demand::new(policy), Demand::new(broad));
        if theirs != Demand::Nothing && own != Demand::Always && own != theirs {
            let message = format!(
                "lets requests pass without a token for which a broader one (at {}) demands one, \
                 and a DENY for all cannot be taken back for some; give the broader one targets",
                broad.meta.at
            );
            writer.refuse(&policy.meta.at, "spec.origins", message);
        }
        if !broad.origins.is_empty() {
            let message = format!(
                "was taken instead of a broader one (at {}), whose tokens are now good here, too",
                broad.meta.at
            );
            writer.note(&policy.meta.at, "spec.origins", message);
        }
    }
}

/// Modes of services: one PeerAuthentication for each set of workloads.
fn target_peers(writer: &mut Writer<'_>, policies: &Policies<'_>) {
    #[derive(Default)]
    struct Peers<'p> {
        name: String,
        mode: Option<MtlsMode>,
        ports: BTreeMap<u16, MtlsMode>,
        policies: Vec<&'p LegacyPolicy>,
        places: Vec<Backend>,
    }
    let mut groups: BTreeMap<(&str, BTreeMap<String, String>), Peers<'_>> = BTreeMap::new();
    for ((namespace, service, port), policy) in &policies.targets {
        let mut place = writer.services.find(service, namespace);
        let mode = mode(policy);
        let key = (*namespace, place.labels.clone());
        let peers = groups.entry(key).or_insert_with(|| Peers {
            name: (*service).to_owned(),
            ..Peers::default()
        });
        peers.policies.push(policy);
        match port {
            Some(port) => {
                let message = "was the Service's port, while portLevelMtls and ports mean that of the workload; correct it where they differ";
                writer.note(&policy.meta.at, "spec.targets", message);
                peers.ports.insert(*port, mode);
                place.ports.insert(*port);
            }
            None if place.ports.is_empty() => {
                if peers.mode.is_some_and(|known| known != mode) {
                    let message = "services of the same workloads have different modes; --service \
                        NAME:PORT says on which port each is";
                    writer.refuse(&policy.meta.at, "spec.peers", message);
                }
                peers.mode = Some(mode);
            }
            None => peers
                .ports
                .extend(place.ports.iter().map(|port| (*port, mode))),
        }
        peers.places.push(place);
    }
    for ((namespace, labels), peers) in groups {
        for (policy, place) in peers.policies.iter().zip(&peers.places) {
            writer.note_place(&policy.meta.at, namespace, place);
            note_peers(writer, policy);
        }
        let ports = peers.ports.iter();
        let ports = ports.map(|(port, mode)| (port.to_string(), Some(mtls(*mode))));
        let ports = (!peers.ports.is_empty()).then(|| Yaml::map(ports));
        let spec = Yaml::map([
            ("selector", selector(&labels)),
            ("mtls", peers.mode.map(mtls)),
            ("portLevelMtls", ports),
        ]);
        let policies = peers.policies.iter();
        let mut from: Vec<_> = policies.map(|policy| policy.meta.at.clone()).collect();
        from.dedup();
        let name = peers.name;
        let peers = Converted::new("PeerAuthentication", namespace, name, spec, from);
        writer.write(peers, false);
    }
}

/// The workloads of a Policy.
struct Scope<'s> {
    namespace: &'s str,
    name: String,
    labels: BTreeMap<String, String>,
    ports: BTreeSet<u16>,
}

impl<'s> Scope<'s> {
    fn all(namespace: &'s str, name: &str) -> Self {
        Self {
            namespace,
            name: name.to_owned(),
            labels: BTreeMap::new(),
            ports: BTreeSet::new(),
        }
    }

    fn write(
        &self,
        writer: &mut Writer<'_>,
        kind: &'static str,
        suffix: &str,
        policy: &LegacyPolicy,
        spec: Yaml,
    ) {
        let name = format!("{}{suffix}", self.name);
        let from = vec![policy.meta.at.clone()];
        let resource = Converted::new(kind, self.namespace, name, spec, from);
        writer.write(resource, policy.meta.kind == "MeshPolicy");
    }

    fn peers(&self, writer: &mut Writer<'_>, policy: &LegacyPolicy) {
        note_peers(writer, policy);
        let spec = Yaml::map([("mtls", Some(mtls(mode(policy))))]);
        self.write(writer, "PeerAuthentication", "", policy, spec);
    }

    /// The origins, and the demand for a token.
    fn tokens(&self, writer: &mut Writer<'_>, policy: &LegacyPolicy, namespace: Option<&str>) {
        if !policy.origins.is_empty() {
            if policy.origin_is_optional {
                let message = "a bad token passed as no token; today it is refused with 401";
                writer.note(&policy.meta.at, "spec.originIsOptional", message);
            }
            note_triggers(writer, policy);
            let claims = claims(writer, namespace);
            let rules = policy.origins.iter();
            let rules = rules.map(|origin| jwt_rule(&origin.rule, &claims));
            let spec = Yaml::map([
                ("selector", selector(&self.labels)),
                ("jwtRules", Yaml::list(rules)),
            ]);
            self.write(writer, "RequestAuthentication", "", policy, spec);
        }
        let rules = Demand::new(policy).rules(writer, policy, &self.ports);
        if !rules.is_empty() {
            let spec = Yaml::map([
                ("selector", selector(&self.labels)),
                ("action", Some(Yaml::text("DENY"))),
                ("rules", Some(Yaml::List(rules))),
            ]);
            self.write(
                writer,
                "AuthorizationPolicy",
                "-requires-token",
                policy,
                spec,
            );
        }
        writer.settle();
    }
}

/// A RequestAuthentication looks at every token, whatever the path.
fn note_triggers(writer: &mut Writer<'_>, policy: &LegacyPolicy) {
    let mut origins = policy.origins.iter().map(|origin| &origin.trigger_rules);
    let Some(first) = origins.next() else {
        return;
    };
    let field = "spec.origins";
    if origins.any(|other| other != first) {
        let message = "differ in their triggerRules, so that each one's tokens were good on its \
            own paths only; today all are good on every path; give all the same triggerRules";
        writer.refuse(&policy.meta.at, field, message);
    } else if !first.is_empty() {
        let message = "outside of its paths no token was looked at: a bad one passed, and a good \
            one was nobody; today a bad one is refused with 401, and a good one counts for \
            request.auth";
        writer.note(&policy.meta.at, field, message);
    }
}

fn note_peers(writer: &mut Writer<'_>, policy: &LegacyPolicy) {
    if policy.peer_is_optional && mode(policy) != MtlsMode::Disable {
        let message = "a caller whose certificate did not pass was let in without an identity; \
            today the handshake fails";
        writer.note(&policy.meta.at, "spec.peerIsOptional", message);
    }
}

/// An effective Policy without mtls in its peers turned mutual TLS off.
fn mode(policy: &LegacyPolicy) -> MtlsMode {
    match policy.mtls.as_ref().map(|mtls| mtls.mode) {
        None => MtlsMode::Disable,
        Some(MtlsMode::Unset) => MtlsMode::Strict,
        Some(mode) => mode,
    }
}

fn mtls(mode: MtlsMode) -> Yaml {
    let word = match mode {
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
        MtlsMode::Unset => "UNSET",
    };
    Yaml::map([("mode", Some(Yaml::text(word)))])
}

/// The claims that roles of a namespace (of all, without one) ask for: of each the old filter split
/// the words. Issuer and subject stay whole, which they are anyway, so that the request principal
/// is still made of them.
fn claims(writer: &Writer<'_>, namespace: Option<&str>) -> BTreeSet<String> {
    let mut claims = BTreeSet::new();
    for binding in &writer.resources.service_role_bindings {
        if namespace.is_some_and(|namespace| binding.meta.namespace != namespace) {
            continue;
        }
        for subject in &binding.subjects {
            let groups = [&subject.groups, &subject.not_groups];
            if subject.group.is_some() || groups.iter().any(|groups| !groups.is_empty()) {
                claims.insert("groups".to_owned());
            }
            let named = subject.properties.keys();
            let named = named.filter_map(|key| bracketed(key, "request.auth.claims"));
            claims.extend(named.map(str::to_owned));
        }
    }
    // Split anyway, and never to be split.
    for name in ["scope", "permission", "iss", "sub"] {
        claims.remove(name);
    }
    claims
}

fn jwt_rule(rule: &JwtRule, claims: &BTreeSet<String>) -> Yaml {
    let text = |text: &Option<Text>| text.as_deref().map(Yaml::text);
    let headers = rule.from_headers.iter().map(|header| {
        let prefix = (!header.prefix.is_empty()).then(|| Yaml::text(&*header.prefix));
        Yaml::map([
            ("name", Some(Yaml::text(header.name.as_str()))),
            ("prefix", prefix),
        ])
    });
    Yaml::map([
        ("issuer", text(&rule.issuer)),
        ("audiences", Yaml::texts(&rule.audiences)),
        ("jwksUri", text(&rule.jwks_uri)),
        ("jwks", text(&rule.jwks)),
        ("fromHeaders", Yaml::list(headers)),
        ("fromParams", Yaml::texts(&rule.from_params)),
        // The old resource knew nothing else.
        ("forwardOriginalToken", Some(Yaml::Bool(true))),
        ("spaceDelimitedClaims", Yaml::texts(claims)),
    ])
}
