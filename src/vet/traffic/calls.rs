//! Checks how single routes call: retries, and weights.

use crate::istio::traffic::{HttpRetry, HttpRoute, StringMatch, VirtualService};
use crate::istio::{Meta, Position};
use crate::vet::Code;
use crate::vet::report::notes::Notes;

/// Methods that may do again what they did (RFC 9110, 9.2.2; RFC 5789).
const NOT_IDEMPOTENT: &[&str] = &["PATCH", "POST"];

/// Conditions under which no part of a server has seen the call.
const UNSEEN: &[&str] = &["connect-failure", "refused-stream"];

/// Adds notes about retries and weights.
pub(super) fn check(service: &VirtualService, notes: &mut Notes) {
    let meta = &service.meta;
    for route in &service.http {
        let weights = route.route.iter().map(|to| (to.weight, &to.at));
        never_drawn(meta, weights, notes);
        if let Some(retries) = route.retries.as_ref().filter(|it| it.attempts > 0) {
            repeated(meta, route, retries, notes);
            too_long(meta, route, retries, notes);
        }
    }
    for route in &service.tls {
        let weights = route.route.iter().map(|to| (to.weight, &to.at));
        never_drawn(meta, weights, notes);
    }
    for route in &service.tcp {
        let weights = route.route.iter().map(|to| (to.weight, &to.at));
        never_drawn(meta, weights, notes);
    }
}

/// Destinations of weight 0 beside others; a single one needs none.
fn never_drawn<'r>(
    meta: &Meta,
    weights: impl ExactSizeIterator<Item = (u32, &'r Position)>,
    notes: &mut Notes,
) {
    if weights.len() < 2 {
        return;
    }
    for (_, at) in weights.filter(|(weight, _)| *weight == 0) {
        let message = "this destination has no weight, and the others have: no call goes to it";
        let help = "write its weight, or take it out";
        notes.add(Code::DestinationWithoutWeight, meta, at, message, help);
    }
}

/// Retries of calls that may have been done already.
fn repeated(meta: &Meta, route: &HttpRoute, retries: &HttpRetry, notes: &mut Notes) {
    let mut methods = route.matches.iter().map(|each| match &each.method {
        Some(StringMatch::Exact(method)) => Some(method.as_str()),
        _ => None,
    });
    let Some(Some(method)) = methods.next() else {
        return;
    };
    let is_unsafe = |method: Option<&str>| method.is_some_and(|it| NOT_IDEMPOTENT.contains(&it));
    let mut conditions = retries.retry_on.iter();
    let is_unseen = conditions.all(|condition| UNSEEN.contains(&condition.as_str()));
    if !is_unsafe(Some(method))
        || !methods.all(is_unsafe)
        || (is_unseen && !retries.retry_on.is_empty())
    {
        return;
    }
    let message = format!(
        "this route is for {method}, which is not idempotent, and is retried after a server may have done it"
    );
    let help = "write attempts: 0, or retryOn: connect-failure,refused-stream";
    notes.add(Code::RetryNotIdempotent, meta, &retries.at, message, help);
}

/// Tries that may last as long as all of them together.
fn too_long(meta: &Meta, route: &HttpRoute, retries: &HttpRetry, notes: &mut Notes) {
    let limits = retries.per_try_timeout.zip(route.timeout);
    let Some((one, all)) = limits.filter(|(one, all)| one >= all) else {
        return;
    };
    let message = format!(
        "perTryTimeout is {one:?} and the route's timeout {all:?}: the first try that times out leaves no time for another"
    );
    let help = "write a perTryTimeout of which several fit into the timeout";
    notes.add(Code::RetryTimeoutTooLong, meta, &retries.at, message, help);
}
