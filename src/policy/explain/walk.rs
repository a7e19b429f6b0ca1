//! Finds the clauses that kept a rule from matching.

use super::super::ir::{Permission, Policy, Principal};
use super::super::{Attributes, eval};
use super::clause::{FailedClause, is_request_principal, permission_clause, principal_clause};

/// Of each alternative on the side that fails (what is done first, then by whom), the first clause that does not hold.
pub(super) fn failed(policy: &Policy, request: &dyn Attributes) -> Vec<FailedClause> {
    let holds = |node: &Permission| eval::permission_matches(node, request);
    if !policy.permissions.iter().any(holds) {
        let clauses = policy.permissions.iter();
        return clauses
            .map(|node| permission_clause(first_permission(node, request), request))
            .collect();
    }
    let clauses = policy.principals.iter();
    clauses
        .map(|node| principal_clause(first_principal(node, request), request))
        .collect()
}

fn first_permission<'a>(node: &'a Permission, request: &dyn Attributes) -> &'a Permission {
    let Permission::And(all) = node else {
        return node;
    };
    match all
        .iter()
        .find(|each| !eval::permission_matches(each, request))
    {
        Some(failing) => first_permission(failing, request),
        None => node,
    }
}

fn first_principal<'a>(node: &'a Principal, request: &dyn Attributes) -> &'a Principal {
    let Principal::And(all) = node else {
        return node;
    };
    match all
        .iter()
        .find(|each| !eval::principal_matches(each, request))
    {
        Some(failing) if !is_request_principal(failing) => first_principal(failing, request),
        Some(failing) => failing,
        None => node,
    }
}
