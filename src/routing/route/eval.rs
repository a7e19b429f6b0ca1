//! Matches one call with one route, plainly. This is the reference.

use super::call::CallHead;
use super::matches::{ClaimMatch, HeaderMatch, HeaderTest, QueryMatch, RouteMatch, Subject};
use crate::matcher::query::parameters;

/// Whether a route takes a call.
#[must_use]
pub fn matches(route: &RouteMatch, call: &dyn CallHead) -> bool {
    route.path.matches(call.path()) && matches_beside_path(route, call)
}

/// Whether everything but the path matches.
#[must_use]
pub fn matches_beside_path(route: &RouteMatch, call: &dyn CallHead) -> bool {
    route.headers.iter().all(|test| header_matches(test, call))
        && route.query.iter().all(|test| query_matches(test, call))
        && route.claims.iter().all(|test| claim_matches(test, call))
}

/// Whether a header passes its test: with one of its lines, each by itself, or if the test is
/// inverted with none of them. A header that is missing passes no test that is not of its presence,
/// inverted or not, unless it counts as empty.
#[must_use]
pub fn header_matches(test: &HeaderMatch, call: &dyn CallHead) -> bool {
    let mut is_there = false;
    let mut passed = any_value(&test.subject, call, &mut |value| {
        is_there = true;
        passes(&test.test, value)
    });
    match &test.test {
        HeaderTest::Present => passed != test.invert,
        HeaderTest::Text(_) => {
            if !is_there && test.missing_is_empty {
                is_there = true;
                passed = passes(&test.test, b"");
            }
            is_there && passed != test.invert
        }
    }
}

/// Calls `visit` with each value of a header or the like, until it returns `true`.
pub(in crate::routing) fn any_value(
    subject: &Subject,
    call: &dyn CallHead,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    match subject {
        Subject::Header { name, .. } => call.any_header(name, visit),
        Subject::Method => visit(call.method().as_bytes()),
        Subject::Authority => visit(call.authority().as_bytes()),
        Subject::Scheme => visit(call.scheme().as_bytes()),
    }
}

/// Whether a parameter of the query passes its test.
pub(in crate::routing) fn query_matches(test: &QueryMatch, call: &dyn CallHead) -> bool {
    query_value(&test.name, call).is_some_and(|value| passes(&test.test, value))
}

/// The first value of a parameter of the query, as it is sent.
pub(in crate::routing) fn query_value<'c>(name: &str, call: &'c dyn CallHead) -> Option<&'c [u8]> {
    let mut all = call.query().into_iter().flat_map(parameters);
    let first = all.find(|(of_call, _)| *of_call == name.as_bytes());
    first.map(|(_, value)| value)
}

/// Whether a claim passes its test.
pub(in crate::routing) fn claim_matches(test: &ClaimMatch, call: &dyn CallHead) -> bool {
    let mut visit = |value: &str| passes(&test.test, value.as_bytes());
    call.any_claim(&test.keys, &mut visit) != test.invert
}

fn passes(test: &HeaderTest, value: &[u8]) -> bool {
    match test {
        HeaderTest::Present => true,
        HeaderTest::Text(matcher) => matcher.matches(value),
    }
}
