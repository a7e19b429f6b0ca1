//! Brings the target and host of a request into the form that policy judges.

use std::borrow::Cow;

use http::request::Parts;

use super::{Refusal, host, target};
use crate::context::Exchange;
use crate::matcher::path::Normalization;

/// Brings the target and host of a request into the form that policy judges, and returns the path
/// to judge if it differs from the request's. In front of every router it rewrites the request.
/// Behind a router it changes nothing that a router can have read, and refuses what it would have
/// to change.
///
/// Behind a router it judges the target as it was sent (rule B-31). It refuses the request if the
/// router may have seen other segments (rule B-30) or another host.
#[cfg(feature = "rbac")]
pub(crate) fn admit(
    how: Normalization,
    head: &mut Parts,
    exchange: &Exchange,
    in_front: bool,
) -> Result<Option<String>, Refusal> {
    // A route or a shortened path shows that a router is in front, even if the layer is configured
    // otherwise.
    let in_front = in_front && !Exchange::is_routed(head);
    match in_front && exchange.path_of(head) == Some(head.uri.path()) {
        true => rewrite(how, head, exchange, false).map(|()| None),
        false => refuse_other(how, head, exchange, false),
    }
}

/// Behind a router: returns the path to judge if it differs from the request's. `is_host_one` as in
/// [`rewrite`].
pub(super) fn refuse_other(
    how: Normalization,
    head: &mut Parts,
    exchange: &Exchange,
    is_host_one: bool,
) -> Result<Option<String>, Refusal> {
    exchange.keep_path(head);
    let judged = {
        let sent = exchange.path_of(head).ok_or(Refusal::OtherSegments)?;
        let path = target::normalized(head, sent, how)?;
        if let Cow::Owned(path) = &path {
            target::refuse_other_segments(sent, path)?;
        }
        (path != head.uri.path()).then(|| path.into_owned())
    };
    target::check_query(&head.uri)?;
    if !is_host_one {
        host::refuse_other(head)?;
    }
    Ok(judged)
}

/// Rewrites the target to its normalized form, and makes the request name one host, unless it is
/// known that it does (`is_host_one`).
pub(crate) fn rewrite(
    how: Normalization,
    head: &mut Parts,
    exchange: &Exchange,
    is_host_one: bool,
) -> Result<(), Refusal> {
    let target = target::text(&head.uri);
    let normalized = match target::normalized(head, target, how)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(normalized) => Some(normalized),
    };
    if !is_host_one {
        host::unite(head)?;
    }
    if let Some(normalized) = normalized {
        target::rewrite(&mut head.uri, &normalized)?;
    }
    // Guards inside nested routers judge the path that this guard has judged.
    if exchange.path() != Some(head.uri.path())
        && let Some(path) = head.uri.path_and_query()
    {
        exchange.set_path(path.clone());
    }
    Ok(())
}
