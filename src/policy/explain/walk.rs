//! Finds the clauses that kept a rule from matching.

use super::super::ir::{Permission, Policy, Principal};
use super::super::{Attributes, RuleOrigin, eval};
use super::clause::{FailedClause, is_request_principal, permission_clause, principal_clause};

/// Of each alternative on the side that fails (what is done first, then by whom), the first clause that does not hold.
pub(super) fn failed(
    policy: &Policy,
    origin: Option<&RuleOrigin>,
    request: &dyn Attributes,
) -> Vec<FailedClause> {
    let holds = |node: &Permission| eval::permission_matches(node, request);
    if !policy.permissions.iter().any(holds) {
        let entries = policy.permissions.iter().enumerate();
        return entries
            .map(|(entry, node)| {
                let clause = permission_clause(first_permission(node, request), request);
                let tests = match node {
                    Permission::And(all) => all.iter().map(holds).collect(),
                    _ => Vec::new(),
                };
                placed(clause, origin, (false, entry), &tests, request)
            })
            .collect();
    }
    let holds = |node: &Principal| eval::principal_matches(node, request);
    let entries = policy.principals.iter().enumerate();
    entries
        .map(|(entry, node)| {
            let clause = principal_clause(first_principal(node, request), request);
            let tests = match node {
                Principal::And(all) => all.iter().map(holds).collect(),
                _ => Vec::new(),
            };
            placed(clause, origin, (true, entry), &tests, request)
        })
        .collect()
}

/// The clause with the place of the first test that failed, of an entry whose tests came out so.
fn placed(
    mut clause: FailedClause,
    origin: Option<&RuleOrigin>,
    (of_principal, entry): (bool, usize),
    tests: &[bool],
    request: &dyn Attributes,
) -> FailedClause {
    let is_http = request.method().is_some();
    let clauses = origin.map(|origin| origin.clauses.as_slice());
    let mut places: Vec<_> = clauses.unwrap_or_default().iter().collect();
    places.retain(|place| {
        (place.of_principal, place.entry) == (of_principal, entry) && (is_http || !place.http_only)
    });
    // Legacy resources have no places for their clauses.
    if places.len() == tests.len() {
        let failing = places.iter().zip(tests).find(|(_, holds)| !**holds);
        clause.at = failing.map(|(place, _)| place.at.clone());
    }
    clause
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
