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

/// The pairs of lists of an entry that are written: what their values are compared with, then the
/// name and the field of each list of the pair.
macro_rules! lists {
    ($entry:expr; $($field:ident: $name:literal $values:ident, $not:literal $not_values:ident;)*) => {
        written([$(List {
            field: Field::$field,
            name: $name,
            not_name: $not,
            values: &$entry.$values,
            not_values: &$entry.$not_values,
        }),*])
    };
}

impl<'r> List<'r> {
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

    /// The name of the list that holds the [first](Self::first) value.
    pub(in crate::vet) fn first_name(self) -> &'r str {
        match self.values {
            [] => self.not_name,
            _ => self.name,
        }
    }

    /// The first value written, of either list.
    pub(in crate::vet) fn first(self) -> Option<&'r Text> {
        self.values.first().or_else(|| self.not_values.first())
    }
}

/// The lists of `from[].source` that are written.
pub(in crate::vet) fn source(source: &Source) -> Vec<List<'_>> {
    lists! { source;
        Principal: "principals" principals, "notPrincipals" not_principals;
        RequestPrincipal: "requestPrincipals" request_principals,
            "notRequestPrincipals" not_request_principals;
        Namespace: "namespaces" namespaces, "notNamespaces" not_namespaces;
        ServiceAccount: "serviceAccounts" service_accounts,
            "notServiceAccounts" not_service_accounts;
        TrustDomain: "trustDomains" trust_domains, "notTrustDomains" not_trust_domains;
        Ip: "ipBlocks" ip_blocks, "notIpBlocks" not_ip_blocks;
        Ip: "remoteIpBlocks" remote_ip_blocks, "notRemoteIpBlocks" not_remote_ip_blocks;
    }
}

/// The lists of `to[].operation` that are written.
pub(in crate::vet) fn operation(operation: &Operation) -> Vec<List<'_>> {
    lists! { operation;
        Host: "hosts" hosts, "notHosts" not_hosts;
        Method: "methods" methods, "notMethods" not_methods;
        Path: "paths" paths, "notPaths" not_paths;
        Port: "ports" ports, "notPorts" not_ports;
    }
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
    List {
        field,
        name: key,
        not_name: key,
        values: &condition.values,
        not_values: &condition.not_values,
    }
}

/// The lists of a ServiceRole's rule that are written. Its paths are compared with the whole
/// target.
pub(in crate::vet) fn access(rule: &AccessRule) -> Vec<List<'_>> {
    lists! { rule;
        Host: "hosts" hosts, "notHosts" not_hosts;
        Method: "methods" methods, "notMethods" not_methods;
        Target: "paths" paths, "notPaths" not_paths;
    }
}

/// The lists of a subject of 2018 that are written and say who it is.
pub(in crate::vet) fn subject(subject: &Subject) -> Vec<List<'_>> {
    let of_one = |field, name, value| List {
        field,
        name,
        not_name: name,
        values: std::slice::from_ref(value),
        not_values: &[],
    };
    let user = subject.user.iter();
    let user = user.map(|user| of_one(Field::Principal, "user", user));
    let properties = subject.properties.iter().filter_map(|(key, value)| {
        let field = match key.as_str() {
            "source.principal" | "source.user" => Field::Principal,
            "source.namespace" => Field::Namespace,
            "source.ip" => Field::Ip,
            _ => return None,
        };
        Some(of_one(field, key.as_str(), value))
    });
    let lists = lists! { subject;
        Principal: "names" names, "notNames" not_names;
        Namespace: "namespaces" namespaces, "notNamespaces" not_namespaces;
        Ip: "ips" ips, "notIps" not_ips;
    };
    user.chain(lists).chain(properties).collect()
}

/// The lists of all of a rule.
pub(in crate::vet) fn rule(rule: &Rule) -> impl Iterator<Item = List<'_>> {
    let sources = rule.from.iter().flat_map(source);
    let operations = rule.to.iter().flat_map(operation);
    let conditions = rule.when.iter().map(condition);
    sources.chain(operations).chain(conditions)
}

/// The negative lists of a rule that also match when the value is absent, because no positive list
/// of the rule demands the value.
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
    let written = lists.into_iter().filter(|list| list.first().is_some());
    written.collect()
}
