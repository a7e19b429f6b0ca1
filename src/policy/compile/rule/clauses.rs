use std::sync::Arc;

use super::super::compiler::{Compiler, FieldPlace, Part};
use super::clause::{Clause, Key, Node, all_of, clause};
use super::condition::ConditionKey;
use super::permission::PermissionKey;
use super::principal::PrincipalKey;
use crate::istio::{Condition, Meta, Operation, Position, Rule, Source, Text};
use crate::policy::ir::{Permission, Policy, Principal};
use crate::policy::{ClauseOrigin, RuleOrigin};

/// A rule, taken apart: for each `from` and each `to`, the clauses that must hold.
pub(in crate::policy::compile) struct Clauses {
    principals: Vec<Vec<Clause<Principal>>>,
    permissions: Vec<Vec<Clause<Permission>>>,
}

/// Whether a rule of raw TCP may leave out what only HTTP has.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::policy::compile) enum OnTcp {
    /// ALLOW: a rule that asks for HTTP is dropped whole, so that it never grants more.
    Drop,
    /// DENY, AUDIT, CUSTOM: the HTTP clauses are dropped, so that it never refuses less.
    Widen,
}

impl Clauses {
    /// Takes a rule of the policy `meta` apart.
    pub(in crate::policy::compile) fn new(
        compiler: &mut Compiler<'_>,
        meta: &Meta,
        index: usize,
        rule: &Rule,
    ) -> Self {
        let place = |part| FieldPlace {
            meta,
            rule: index,
            part,
            list: "",
        };
        let mut for_principals = Vec::new();
        let mut for_permissions = Vec::new();
        for (index, condition) in rule.when.iter().enumerate() {
            let place = place(Part::When(index));
            match ConditionKey::parse(&condition.key) {
                Ok(ConditionKey::Principal(key)) => {
                    for_principals.extend(condition_clause(compiler, &key, condition, place));
                }
                Ok(ConditionKey::Permission(key)) => {
                    for_permissions.extend(condition_clause(compiler, &key, condition, place));
                }
                Err(message) => compiler.refuse(condition.key.at(), place.list("key"), message),
            }
        }
        let mut principals = Vec::with_capacity(rule.from.len().max(1));
        for (index, source) in rule.from.iter().enumerate() {
            let mut clauses = source_clauses(compiler, source, place(Part::From(index)));
            clauses.extend(for_principals.iter().cloned());
            principals.push(clauses);
        }
        if principals.is_empty() {
            principals.push(for_principals);
        }
        let mut permissions = Vec::with_capacity(rule.to.len().max(1));
        for (index, operation) in rule.to.iter().enumerate() {
            let mut clauses = operation_clauses(compiler, operation, place(Part::To(index)));
            clauses.extend(for_permissions.iter().cloned());
            permissions.push(clauses);
        }
        if permissions.is_empty() {
            permissions.push(for_permissions);
        }
        Self {
            principals,
            permissions,
        }
    }

    /// Where everything was written, of a rule that starts at `at`.
    pub(in crate::policy::compile) fn origin(&self, at: &Position) -> RuleOrigin {
        let count = count_written(&self.permissions) + count_written(&self.principals);
        let mut clauses = Vec::with_capacity(count);
        written(&self.permissions, false, &mut clauses);
        written(&self.principals, true, &mut clauses);
        RuleOrigin {
            at: at.clone(),
            clauses,
        }
    }

    /// The RBAC policy for raw TCP; `None` when the rule is dropped there.
    pub(in crate::policy::compile) fn for_tcp(&self, on_tcp: OnTcp) -> Option<Policy> {
        Some(Policy {
            permissions: on_connection(&self.permissions, on_tcp)?,
            principals: on_connection(&self.principals, on_tcp)?,
        })
    }

    /// The RBAC policy for HTTP.
    pub(in crate::policy::compile) fn for_http(self) -> Policy {
        Policy {
            permissions: self.permissions.into_iter().map(whole).collect(),
            principals: self.principals.into_iter().map(whole).collect(),
        }
    }
}

/// The RBAC policy of a rule list that is empty: selected, and never matches.
pub(in crate::policy::compile) fn never() -> Policy {
    Policy {
        permissions: vec![Permission::never()],
        principals: vec![Principal::never()],
    }
}

fn count_written<N>(entries: &[Vec<Clause<N>>]) -> usize {
    let clauses = entries.iter().flatten();
    clauses.map(|clause| clause.written.len()).sum()
}

fn written<N>(entries: &[Vec<Clause<N>>], of_principal: bool, origins: &mut Vec<ClauseOrigin>) {
    for (entry, clauses) in entries.iter().enumerate() {
        for clause in clauses {
            origins.extend(clause.written.iter().map(|(at, field)| ClauseOrigin {
                at: at.clone(),
                field: Arc::clone(field),
                http_only: clause.http_only,
                of_principal,
                entry,
            }));
        }
    }
}

fn whole<N: Node>(clauses: Vec<Clause<N>>) -> N {
    let count = clauses.iter().map(|clause| clause.tests.len()).sum();
    let mut tests = Vec::with_capacity(count);
    tests.extend(clauses.into_iter().flat_map(|clause| clause.tests));
    all_of(tests)
}

fn on_connection<N: Node>(entries: &[Vec<Clause<N>>], on_tcp: OnTcp) -> Option<Vec<N>> {
    let asks_for_http = entries.iter().flatten().any(|clause| clause.http_only);
    if asks_for_http && on_tcp == OnTcp::Drop {
        return None;
    }
    let known = |clauses: &Vec<Clause<N>>| {
        let known = clauses.iter().filter(|clause| !clause.http_only);
        all_of(
            known
                .flat_map(|clause| clause.tests.iter().cloned())
                .collect(),
        )
    };
    Some(entries.iter().map(known).collect())
}

/// A key with its positive and its negative list, each with its name.
type Field<'a, K> = (K, &'static str, &'a [Text], &'static str, &'a [Text]);

/// In the order in which Istio prints them.
fn source_clauses(
    compiler: &mut Compiler<'_>,
    source: &Source,
    place: FieldPlace<'_>,
) -> Vec<Clause<Principal>> {
    let fields: [Field<'_, PrincipalKey>; 7] = [
        (
            PrincipalKey::Principal,
            "principals",
            &source.principals,
            "notPrincipals",
            &source.not_principals,
        ),
        (
            PrincipalKey::RequestPrincipal,
            "requestPrincipals",
            &source.request_principals,
            "notRequestPrincipals",
            &source.not_request_principals,
        ),
        (
            PrincipalKey::TrustDomain,
            "trustDomains",
            &source.trust_domains,
            "notTrustDomains",
            &source.not_trust_domains,
        ),
        (
            PrincipalKey::ServiceAccount,
            "serviceAccounts",
            &source.service_accounts,
            "notServiceAccounts",
            &source.not_service_accounts,
        ),
        (
            PrincipalKey::Namespace,
            "namespaces",
            &source.namespaces,
            "notNamespaces",
            &source.not_namespaces,
        ),
        (
            PrincipalKey::RemoteIp,
            "remoteIpBlocks",
            &source.remote_ip_blocks,
            "notRemoteIpBlocks",
            &source.not_remote_ip_blocks,
        ),
        (
            PrincipalKey::SourceIp,
            "ipBlocks",
            &source.ip_blocks,
            "notIpBlocks",
            &source.not_ip_blocks,
        ),
    ];
    let mut clauses = Vec::new();
    for (key, list, values, not_list, not_values) in fields {
        let (place, not_place) = (place.list(list), place.list(not_list));
        clauses.extend(clause(compiler, &key, values, place, not_values, not_place));
    }
    clauses
}

fn operation_clauses(
    compiler: &mut Compiler<'_>,
    operation: &Operation,
    place: FieldPlace<'_>,
) -> Vec<Clause<Permission>> {
    let fields: [Field<'_, PermissionKey>; 4] = [
        (
            PermissionKey::Host,
            "hosts",
            &operation.hosts,
            "notHosts",
            &operation.not_hosts,
        ),
        (
            PermissionKey::Method,
            "methods",
            &operation.methods,
            "notMethods",
            &operation.not_methods,
        ),
        (
            PermissionKey::Path,
            "paths",
            &operation.paths,
            "notPaths",
            &operation.not_paths,
        ),
        (
            PermissionKey::DestinationPort,
            "ports",
            &operation.ports,
            "notPorts",
            &operation.not_ports,
        ),
    ];
    let mut clauses = Vec::new();
    for (key, list, values, not_list, not_values) in fields {
        let (place, not_place) = (place.list(list), place.list(not_list));
        clauses.extend(clause(compiler, &key, values, place, not_values, not_place));
    }
    clauses
}

fn condition_clause<K: Key>(
    compiler: &mut Compiler<'_>,
    key: &K,
    condition: &Condition,
    place: FieldPlace<'_>,
) -> Option<Clause<K::Node>> {
    if condition.values.is_empty() && condition.not_values.is_empty() {
        let message = "write values, notValues or both; a condition without either says nothing";
        compiler.refuse(condition.key.at(), place.list("values"), message);
    }
    clause(
        compiler,
        key,
        &condition.values,
        place.list("values"),
        &condition.not_values,
        place.list("notValues"),
    )
}
