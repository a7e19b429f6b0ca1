//! What policy judges of a request's target, and what the application must then see of it.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::matcher::path::{self, Normalization, PathRefusal};
use crate::matcher::query::percent_decode;
use crate::message::LocalReply;

/// A request target, normalized; borrowed when nothing changes.
///
/// # Errors
///
/// The reply to what Envoy answers without asking policy: 400 to a target that cannot be normalized, 403 to CONNECT.
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

/// Puts a normalized path and query in place of the URI's.
pub(crate) fn rewrite(uri: &mut Uri, normalized: &str) -> Result<(), LocalReply> {
    let path = PathAndQuery::try_from(normalized);
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path.map_err(|_| refuse(PathRefusal::IllegalByte))?);
    *uri = Uri::from_parts(parts).map_err(|_| refuse(PathRefusal::IllegalByte))?;
    Ok(())
}

/// Rule B-30: 400 when a router that saw the raw path may have seen other segments than policy does. Escapes of single characters pass.
pub(crate) fn refuse_other_segments(raw: &str, normalized: &str) -> Result<(), LocalReply> {
    let segments = raw.split('/').map(decoded);
    match segments.eq(normalized.split('/').map(decoded)) {
        true => Ok(()),
        false => Err(refuse_odd()),
    }
}

/// 400 to a target in which a router may have seen other segments than policy does.
pub(crate) fn refuse_odd() -> LocalReply {
    bad_request("path_normalization_failed")
}

/// That the query holds only what a request target may; [`normalized`] has looked at the path alone.
///
/// # Errors
///
/// 400, as there.
pub(crate) fn check_query(uri: &Uri) -> Result<(), LocalReply> {
    let mut query = uri.query().unwrap_or_default().bytes();
    match query.all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(refuse(PathRefusal::IllegalByte)),
    }
}

/// Path and query of a request; empty where its target has none, as `host:port` alone has not.
pub(crate) fn text(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", PathAndQuery::as_str)
}

/// The path and query that policy judges: those of the request, or another path with its query.
pub(super) fn judged<'p>(path: Option<&'p str>, uri: &'p Uri) -> Cow<'p, str> {
    match (path, uri.query()) {
        (None, _) => Cow::Borrowed(uri.path_and_query().map_or("/", PathAndQuery::as_str)),
        (Some(path), None) => Cow::Borrowed(path),
        (Some(path), Some(query)) => Cow::Owned(format!("{path}?{query}")),
    }
}

/// 400 to a target or a host that Envoy refuses.
pub(super) fn refuse(refusal: PathRefusal) -> LocalReply {
    bad_request(refusal.details())
}

fn bad_request(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "", details)
}

fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode(segment.as_bytes())
}
