//! The request target that policy judges, and that the application must then see.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::matcher::path::{self, Normalization, PathRefusal};
use crate::matcher::query::percent_decode;
use crate::message::LocalReply;

/// Normalizes a request target; borrowed if nothing changes.
///
/// # Errors
///
/// The reply that Envoy gives without asking policy: 400 for a target that cannot be normalized,
/// 403 for CONNECT.
pub(crate) fn normalized<'t>(
    head: &Parts,
    target: &'t str,
    how: Normalization,
) -> Result<Cow<'t, str>, LocalReply> {
    if head.method == Method::CONNECT {
        return Err(LocalReply::new(StatusCode::FORBIDDEN, "", "upgrade_failed"));
    }
    path::normalize(target, how).map_err(refuse)
}

/// Replaces the path and query of the URI with the normalized ones.
pub(crate) fn rewrite(uri: &mut Uri, normalized: &str) -> Result<(), LocalReply> {
    let path = PathAndQuery::try_from(normalized);
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path.map_err(|_| refuse(PathRefusal::IllegalByte))?);
    *uri = Uri::from_parts(parts).map_err(|_| refuse(PathRefusal::IllegalByte))?;
    Ok(())
}

/// Rule B-30: refuses with 400 if a router that saw the raw path may have seen other segments than
/// policy does. Escapes of single characters are accepted.
pub(crate) fn refuse_other_segments(raw: &str, normalized: &str) -> Result<(), LocalReply> {
    let segments = raw.split('/').map(decoded);
    match segments.eq(normalized.split('/').map(decoded)) {
        true => Ok(()),
        false => Err(refuse_odd()),
    }
}

/// The 400 for a target in which a router may have seen other segments than policy does.
pub(crate) fn refuse_odd() -> LocalReply {
    bad_request("path_normalization_failed")
}

/// Checks that the query holds only bytes that a request target may hold; [`normalized`] has
/// checked only the path.
///
/// # Errors
///
/// 400, as for the path.
pub(crate) fn check_query(uri: &Uri) -> Result<(), LocalReply> {
    let mut query = uri.query().unwrap_or_default().bytes();
    match query.all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(refuse(PathRefusal::IllegalByte)),
    }
}

/// Path and query of a request; empty if the target has none, as in `host:port`.
pub(crate) fn text(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", PathAndQuery::as_str)
}

/// The path and query that policy judges: the request's own, or another path with the request's
/// query.
pub(super) fn judged<'p>(path: Option<&'p str>, uri: &'p Uri) -> Cow<'p, str> {
    match (path, uri.query()) {
        (None, _) => Cow::Borrowed(uri.path_and_query().map_or("/", PathAndQuery::as_str)),
        (Some(path), None) => Cow::Borrowed(path),
        (Some(path), Some(query)) => Cow::Owned(format!("{path}?{query}")),
    }
}

/// The 400 for a target or a host that Envoy refuses.
pub(super) fn refuse(refusal: PathRefusal) -> LocalReply {
    bad_request(refusal.details())
}

fn bad_request(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "", details)
}

fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode(segment.as_bytes())
}
