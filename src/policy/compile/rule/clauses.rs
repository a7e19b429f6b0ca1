use std::sync::Arc;

use super::super::compiler::{Compiler, FieldPlace, Part};
use super::clause::{Clause, Key, Node, all_of, clause, not_name};
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
        let place = |part| FieldPlace::new(meta, index, part);
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
        let principals = entries(&rule.from, for_principals, |index, source| {
            source_clauses(compiler, source, place(Part::From(index)))
        });
        let permissions = entries(&rule.to, for_permissions, |index, operation| {
            operation_clauses(compiler, operation, place(Part::To(index)))
        });
        Self {
            principals,
            permissions,
        }
    }

    /// Where everything was written, of a rule that starts at `at`.
    pub(in crate::policy::compile) fn origin(&self, at: &Position) -> RuleOrigin {
        let mut clauses = Vec::new();
        written(&self.permissions, false, &mut clauses);
        written(&self.principals, true, &mut clauses);
        clauses.shrink_to_fit();
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

/// The clauses of each part of a rule, with the conditions that hold for all parts.
fn entries<T, N: Node>(
    parts: &[T],
    conditions: Vec<Clause<N>>,
    mut clauses: impl FnMut(usize, &T) -> Vec<Clause<N>>,
) -> Vec<Vec<Clause<N>>> {
    if parts.is_empty() {
        return vec![conditions];
    }
    let entry = |(index, part)| {
        let mut clauses = clauses(index, part);
        clauses.extend(conditions.iter().cloned());
        clauses
    };
    parts.iter().enumerate().map(entry).collect()
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
        let tests = known.flat_map(|clause| clause.tests.iter().cloned());
        all_of(tests.collect())
    };
    Some(entries.iter().map(known).collect())
}

/// In the order in which Istio prints them.
fn source_clauses(
    compiler: &mut Compiler<'_>,
    source: &Source,
    place: FieldPlace<'_>,
) -> Vec<Clause<Principal>> {
    let fields = [
        (PrincipalKey::Principal, "principals"),
        (PrincipalKey::RequestPrincipal, "requestPrincipals"),
        (PrincipalKey::TrustDomain, "trustDomains"),
        (PrincipalKey::ServiceAccount, "serviceAccounts"),
        (PrincipalKey::Namespace, "namespaces"),
        (PrincipalKey::RemoteIp, "remoteIpBlocks"),
        (PrincipalKey::SourceIp, "ipBlocks"),
    ];
    let lists: [(&[_], &[_]); 7] = [
        (&source.principals, &source.not_principals),
        (&source.request_principals, &source.not_request_principals),
        (&source.trust_domains, &source.not_trust_domains),
        (&source.service_accounts, &source.not_service_accounts),
        (&source.namespaces, &source.not_namespaces),
        (&source.remote_ip_blocks, &source.not_remote_ip_blocks),
        (&source.ip_blocks, &source.not_ip_blocks),
    ];
    field_clauses(compiler, place, fields, lists)
}

fn operation_clauses(
    compiler: &mut Compiler<'_>,
    operation: &Operation,
    place: FieldPlace<'_>,
) -> Vec<Clause<Permission>> {
    let fields = [
        (PermissionKey::Host, "hosts"),
        (PermissionKey::Method, "methods"),
        (PermissionKey::Path, "paths"),
        (PermissionKey::DestinationPort, "ports"),
    ];
    let lists: [(&[_], &[_]); 4] = [
        (&operation.hosts, &operation.not_hosts),
        (&operation.methods, &operation.not_methods),
        (&operation.paths, &operation.not_paths),
        (&operation.ports, &operation.not_ports),
    ];
    field_clauses(compiler, place, fields, lists)
}

/// A clause for each field: a key, the name of its list, and its positive and negative values.
fn field_clauses<K: Key, const N: usize>(
    compiler: &mut Compiler<'_>,
    place: FieldPlace<'_>,
    fields: [(K, &str); N],
    lists: [(&[Text], &[Text]); N],
) -> Vec<Clause<K::Node>> {
    let mut clauses = Vec::new();
    for ((key, name), (values, not_values)) in fields.into_iter().zip(lists) {
        let not_name = not_name(name, not_values);
        let (place, not_place) = (place.list(name), place.list(&not_name));
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
