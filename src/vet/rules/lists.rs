//! The value lists of a rule, for every kind of resource.

use crate::istio::{
    AccessRule, AuthorizationPolicy, Condition, Operation, Rule, Source, Subject, Text,
};

/// What the values of a list are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vet) enum Field {
    /// A claim of the token: claims, audiences, presenter.
    Claim,
    Header,
    Host,
    /// An address.
    Ip,
    Method,
    Namespace,
    /// Something else, such as another filter's metadata.
    Other,
    Path,
    /// The whole target, with its query.
    Target,
    Port,
    Principal,
    RequestPrincipal,
    ServiceAccount,
    ServerName,
    TrustDomain,
}

impl Field {
    /// Whether it is a fact about the peer's certificate.
    pub(in crate::vet) fn is_identity(self) -> bool {
        matches!(
            self,
            Self::Namespace | Self::Principal | Self::ServiceAccount | Self::TrustDomain
        )
    }

    /// Whether it is a fact about the end user's token.
    pub(in crate::vet) fn is_token(self) -> bool {
        matches!(self, Self::Claim | Self::RequestPrincipal)
    }

    /// Whether raw TCP knows nothing of it.
    pub(in crate::vet) fn is_http(self) -> bool {
        self.is_token()
            || matches!(
                self,
                Self::Header | Self::Host | Self::Method | Self::Path | Self::Target
            )
    }

    /// Whether a request may come without it.
    pub(in crate::vet) fn may_be_absent(self) -> bool {
        self.is_identity() || self.is_token() || matches!(self, Self::Header | Self::ServerName)
    }
}

/// A positive and a negative list of one key.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) struct List<'r> {
    pub(in crate::vet) field: Field,
    /// The names of both lists, or the key of a condition twice.
    pub(in crate::vet) name: &'r str,
    pub(in crate::vet) not_name: &'r str,
    pub(in crate::vet) values: &'r [Text],
    pub(in crate::vet) not_values: &'r [Text],
}

impl<'r> List<'r> {
    fn new(
        field: Field,
        (name, values): (&'r str, &'r [Text]),
        (not_name, not_values): (&'r str, &'r [Text]),
    ) -> Self {
        Self {
            field,
            name,
            not_name,
            values,
            not_values,
        }
    }

    /// The values of both lists.
    pub(in crate::vet) fn all(self) -> impl Iterator<Item = &'r Text> {
        self.values.iter().chain(self.not_values)
    }

    fn is_negative(self) -> bool {
        self.values.is_empty() && !self.not_values.is_empty()
    }

    /// Whether what passes the other list has what this one speaks of.
    fn is_demanded_by(self, other: Self) -> bool {
        let same = match self.field {
            field if field.is_identity() => other.field.is_identity(),
            Field::RequestPrincipal => other.field.is_token(),
            // A token may lack a claim.
            _ => other.name == self.name,
        };
        same && !other.values.is_empty()
    }

    /// The first value written, of either list.
    pub(in crate::vet) fn first(self) -> Option<&'r Text> {
        self.values.first().or_else(|| self.not_values.first())
    }
}

/// The lists of `from[].source` that are written.
pub(in crate::vet) fn source(source: &Source) -> Vec<List<'_>> {
    written([
        List::new(
            Field::Principal,
            ("principals", &source.principals),
            ("notPrincipals", &source.not_principals),
        ),
        List::new(
            Field::RequestPrincipal,
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
        ),
        List::new(
            Field::Namespace,
            ("namespaces", &source.namespaces),
            ("notNamespaces", &source.not_namespaces),
        ),
        List::new(
            Field::ServiceAccount,
            ("serviceAccounts", &source.service_accounts),
            ("notServiceAccounts", &source.not_service_accounts),
        ),
        List::new(
            Field::TrustDomain,
            ("trustDomains", &source.trust_domains),
            ("notTrustDomains", &source.not_trust_domains),
        ),
        List::new(
            Field::Ip,
            ("ipBlocks", &source.ip_blocks),
            ("notIpBlocks", &source.not_ip_blocks),
        ),
        List::new(
            Field::Ip,
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ),
    ])
}

/// The lists of `to[].operation` that are written.
pub(in crate::vet) fn operation(operation: &Operation) -> Vec<List<'_>> {
    written([
        List::new(
            Field::Host,
            ("hosts", &operation.hosts),
            ("notHosts", &operation.not_hosts),
        ),
        List::new(
            Field::Method,
            ("methods", &operation.methods),
            ("notMethods", &operation.not_methods),
        ),
        List::new(
            Field::Path,
            ("paths", &operation.paths),
            ("notPaths", &operation.not_paths),
        ),
        List::new(
            Field::Port,
            ("ports", &operation.ports),
            ("notPorts", &operation.not_ports),
        ),
    ])
}

/// The lists of `when[]`.
pub(in crate::vet) fn condition(condition: &Condition) -> List<'_> {
    let key = condition.key.as_str();
    let field = match key {
        "connection.sni" => Field::ServerName,
        "destination.ip" | "remote.ip" | "source.ip" => Field::Ip,
        "destination.port" => Field::Port,
        "request.auth.principal" => Field::RequestPrincipal,
        "source.namespace" => Field::Namespace,
        "source.principal" => Field::Principal,
        "source.serviceAccount" => Field::ServiceAccount,
        "source.trustDomain" => Field::TrustDomain,
        "request.headers[:method]" => Field::Method,
        "request.headers[:path]" => Field::Target,
        "request.headers[:authority]" | "request.headers[host]" => Field::Host,
        _ if key.starts_with("request.auth.") => Field::Claim,
        _ if key.starts_with("request.headers[") => Field::Header,
        _ => Field::Other,
    };
    List::new(
        field,
        (key, &condition.values),
        (key, &condition.not_values),
    )
}

/// The lists of a ServiceRole's rule that are written. Its paths are compared with the whole
/// target.
pub(in crate::vet) fn access(rule: &AccessRule) -> Vec<List<'_>> {
    written([
        List::new(
            Field::Host,
            ("hosts", &rule.hosts),
            ("notHosts", &rule.not_hosts),
        ),
        List::new(
            Field::Method,
            ("methods", &rule.methods),
            ("notMethods", &rule.not_methods),
        ),
        List::new(
            Field::Target,
            ("paths", &rule.paths),
            ("notPaths", &rule.not_paths),
        ),
    ])
}

/// The lists of a subject of 2018 that are written and say who it is.
pub(in crate::vet) fn subject(subject: &Subject) -> Vec<List<'_>> {
    let principals = |name, not_name, values, not_values| {
        List::new(Field::Principal, (name, values), (not_name, not_values))
    };
    let properties = subject.properties.iter().filter_map(|(key, value)| {
        let field = match key.as_str() {
            "source.principal" | "source.user" => Field::Principal,
            "source.namespace" => Field::Namespace,
            "source.ip" => Field::Ip,
            _ => return None,
        };
        let value = std::slice::from_ref(value);
        Some(List::new(field, (key, value), (key, &[])))
    });
    let mut lists = written([
        principals("user", "", subject.user.as_slice(), &[]),
        principals("names", "notNames", &subject.names, &subject.not_names),
        List::new(
            Field::Namespace,
            ("namespaces", &subject.namespaces),
            ("notNamespaces", &subject.not_namespaces),
        ),
        List::new(
            Field::Ip,
            ("ips", &subject.ips),
            ("notIps", &subject.not_ips),
        ),
    ]);
    lists.extend(properties);
    lists
}

/// The lists of all of a rule.
pub(in crate::vet) fn rule(rule: &Rule) -> impl Iterator<Item = List<'_>> {
    let sources = rule.from.iter().flat_map(source);
    let operations = rule.to.iter().flat_map(operation);
    let conditions = rule.when.iter().map(condition);
    sources.chain(operations).chain(conditions)
}

/// The negative lists of a rule that hold also for what is absent, since no positive list that must
/// hold beside them demands it.
pub(in crate::vet) fn lone_negatives(rule: &Rule) -> Vec<List<'_>> {
    let conditions: Vec<List<'_>> = rule.when.iter().map(condition).collect();
    let sources: Vec<Vec<List<'_>>> = rule.from.iter().map(source).collect();
    let demanded = |list: List<'_>, beside: &[List<'_>]| {
        beside.iter().any(|other| list.is_demanded_by(*other))
    };
    let mut found: Vec<List<'_>> = rule.to.iter().flat_map(operation).collect();
    for source in &sources {
        let lone = source.iter().filter(|list| !demanded(**list, source));
        found.extend(lone);
    }
    let in_every_source =
        |list: List<'_>| !sources.is_empty() && sources.iter().all(|source| demanded(list, source));
    found.extend(conditions.iter().filter(|list| !in_every_source(**list)));
    found.retain(|list| list.is_negative() && !demanded(*list, &conditions));
    found
}

/// The lists of all of a policy.
pub(in crate::vet) fn policy(policy: &AuthorizationPolicy) -> impl Iterator<Item = List<'_>> {
    policy.rules.iter().flat_map(rule)
}

fn written<'r, const N: usize>(lists: [List<'r>; N]) -> Vec<List<'r>> {
    lists
        .into_iter()
        .filter(|list| list.first().is_some())
        .collect()
}
