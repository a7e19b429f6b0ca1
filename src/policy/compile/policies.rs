use std::collections::BTreeMap;

use super::compiler::Compiler;
use super::rule::{Clauses, OnTcp, never};
use crate::istio::{Action, AuthorizationPolicy};
use crate::policy::PolicyId;
use crate::policy::ir::Policy;

/// The policies of a set, by name.
pub(super) type Policies = BTreeMap<PolicyId, Policy>;

/// Adds the rules of an AuthorizationPolicy to a set for HTTP and to one for raw TCP, under the
/// names by which Envoy reports them, which start with `prefix`.
pub(super) fn add_rules(
    compiler: &mut Compiler<'_>,
    policy: &AuthorizationPolicy,
    prefix: &str,
    http: &mut Policies,
    tcp: &mut Policies,
) {
    let (namespace, name) = (&policy.meta.namespace, &policy.meta.name);
    let policy_name = format!("{prefix}ns[{namespace}]-policy[{name}]");
    let id = |rule: usize| PolicyId::new(format!("{policy_name}-rule[{rule}]"));
    let on_tcp = match policy.action {
        Action::Allow => OnTcp::Drop,
        Action::Audit | Action::Custom | Action::Deny => OnTcp::Widen,
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        let id = id(index);
        let clauses = Clauses::new(compiler, &policy.meta, index, rule);
        compiler
            .origins
            .insert(id.clone(), clauses.origin(&rule.at));
        tcp.extend(clauses.for_tcp(on_tcp).map(|rule| (id.clone(), rule)));
        http.insert(id, clauses.for_http());
    }
    if policy.rules.is_empty() {
        tcp.insert(id(0), never());
        http.insert(id(0), never());
    }
}
