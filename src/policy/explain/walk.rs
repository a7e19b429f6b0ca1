//! Finds the clauses that kept a rule from matching.

use super::clause::{FailedClause, is_request_principal, node_clause};
use crate::policy::ir::Policy;
use crate::policy::ir::view::{Node, Shape};
use crate::policy::{Attributes, RuleOrigin, eval};

/// For each alternative on the side that fails (permissions are tried before principals), the first
/// clause that does not hold.
pub(super) fn failed(
    policy: &Policy,
    origin: Option<&RuleOrigin>,
    request: &dyn Attributes,
) -> Vec<FailedClause> {
    let [permissions, principals] = policy.sides();
    let holds = |node| eval::node_matches(node, request);
    let of_principal = permissions.iter().any(holds);
    let side = if of_principal {
        principals
    } else {
        permissions
    };
    let entries = side.iter().enumerate();
    entries
        .map(|(entry, node)| {
            let clause = node_clause(first_failing(node, request), request);
            let tests = match node.shape() {
                Shape::And(all) => all.iter().map(holds).collect(),
                _ => Vec::new(),
            };
            placed(clause, origin, (of_principal, entry), &tests, request)
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

fn first_failing<'a>(node: Node<'a>, request: &dyn Attributes) -> Node<'a> {
    let Shape::And(all) = node.shape() else {
        return node;
    };
    match all.iter().find(|each| !eval::node_matches(*each, request)) {
        Some(failing) if is_request_principal(failing) => failing,
        Some(failing) => first_failing(failing, request),
        None => node,
    }
}
