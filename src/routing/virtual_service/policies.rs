//! Headers, retries, faults and CORS of `http[]`.

use super::matches::text_test;
use crate::istio::Problem;
use crate::istio::Text;
use crate::istio::traffic::{
    CorsPolicy, FaultInjection, FaultStatus, HeaderOperations, Headers, HttpRetry,
    UnmatchedPreflights,
};
use crate::routing::route::{Abort, Cors, Fault, HeaderAdd, HeaderChanges, RetryPolicy};

/// `set`, then `add`, after all of `remove`. What sets the host is a rewrite of the authority and
/// not among them.
pub(super) fn header_changes(written: &HeaderOperations) -> HeaderChanges {
    let add = |(name, value): &(Text, Text), overwrite| HeaderAdd {
        name: name.as_str().to_owned(),
        value: value.as_str().to_owned(),
        overwrite,
    };
    let set = written.set.iter().filter(|(name, _)| !is_host(name));
    let set = set.map(|each| add(each, true));
    let added = written.add.iter().map(|each| add(each, false));
    let removed = written.remove.iter();
    HeaderChanges {
        remove: removed.map(|name| name.as_str().to_owned()).collect(),
        add: set.chain(added).collect(),
    }
}

/// The host that `headers.request.set` sets.
pub(super) fn host_of(headers: &Headers) -> Option<&str> {
    let mut set = headers.request.set.iter();
    let (_, host) = set.find(|(name, _)| is_host(name))?;
    Some(host.as_str())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// A retry policy; `None` where it allows no retry. `avoid_previous_hosts` is the default of
/// `retryIgnorePreviousHosts`.
pub(super) fn retry(written: &HttpRetry, avoid_previous_hosts: bool) -> Option<RetryPolicy> {
    if written.attempts == 0 {
        return None;
    }
    let of_written = written.retry_ignore_previous_hosts;
    let mut policy = RetryPolicy {
        retries: written.attempts,
        per_try_timeout: written.per_try_timeout,
        avoid_previous_hosts: of_written.unwrap_or(avoid_previous_hosts),
        avoid_previous_priorities: written.retry_remote_localities == Some(true),
        backoff: written.backoff,
        ..RetryPolicy::standard()
    };
    if !written.retry_on.is_empty() {
        policy.set_conditions(written.retry_on.iter().map(Text::as_str));
    }
    Some(policy)
}

/// Faults.
pub(super) fn fault(written: &FaultInjection) -> Result<Fault, Problem> {
    let delay = written.delay.as_ref();
    let delay = delay.map(|delay| (delay.fixed_delay, delay.percentage));
    let abort = match &written.abort {
        None => None,
        Some(abort) => {
            let status = match abort.status {
                FaultStatus::Http(status) if (200..600).contains(&status) => Abort::Http(status),
                FaultStatus::Grpc(status) => Abort::Grpc(status),
                FaultStatus::Http(_) => {
                    let message = "httpStatus is from 200 to 599; Envoy refuses any other";
                    return Err(Problem::new(written.at.clone(), "", message));
                }
            };
            Some((status, abort.percentage))
        }
    };
    Ok(Fault { delay, abort })
}

/// CORS. Preflights of other origins go upstream unless they are to be ignored.
pub(super) fn cors(written: &CorsPolicy) -> Result<Cors, Problem> {
    let joined = |list: &[Text]| list.iter().map(Text::as_str).collect::<Vec<_>>().join(",");
    let origins: Result<_, _> = written.allow_origins.iter().map(text_test).collect();
    Ok(Cors {
        allow_origins: origins?,
        allow_methods: joined(&written.allow_methods),
        allow_headers: joined(&written.allow_headers),
        expose_headers: joined(&written.expose_headers),
        max_age: written.max_age.map(|age| age.as_secs()),
        allow_credentials: written.allow_credentials,
        forward_unmatched_preflights: written.unmatched_preflights == UnmatchedPreflights::Forward,
    })
}
