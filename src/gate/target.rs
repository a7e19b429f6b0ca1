//! The request target that policy judges, and that the application must then see.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::Refusal;
use crate::matcher::path::{self, Normalization};
use crate::matcher::query::percent_decode;

/// Normalizes a request target; borrowed if nothing changes.
///
/// # Errors
///
/// What Envoy refuses without asking policy: a target that cannot be normalized, and CONNECT.
pub(super) fn normalized<'t>(
    head: &Parts,
    target: &'t str,
    how: Normalization,
) -> Result<Cow<'t, str>, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    Ok(path::normalize(target, how)?)
}

/// Replaces the path and query of the URI with the normalized ones.
pub(super) fn rewrite(uri: &mut Uri, normalized: &str) -> Result<(), Refusal> {
    let path = PathAndQuery::try_from(normalized);
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path.map_err(|_| Refusal::IllegalByte)?);
    *uri = Uri::from_parts(parts).map_err(|_| Refusal::IllegalByte)?;
    Ok(())
}

/// Rule B-30: refuses the request if a router that saw the raw path may have seen other segments
/// than policy does. Escapes of single characters are accepted.
pub(super) fn refuse_other_segments(raw: &str, normalized: &str) -> Result<(), Refusal> {
    let segments = raw.split('/').map(decoded);
    match segments.eq(normalized.split('/').map(decoded)) {
        true => Ok(()),
        false => Err(Refusal::OtherSegments),
    }
}

/// Checks that the query holds only bytes that a request target may hold; [`normalized`] has
/// checked only the path.
///
/// # Errors
///
/// As for the path.
pub(super) fn check_query(uri: &Uri) -> Result<(), Refusal> {
    let mut query = uri.query().unwrap_or_default().bytes();
    match query.all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Refusal::IllegalByte),
    }
}

/// Path and query of a request; empty if the target has none, as in `host:port`.
pub(super) fn text(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", PathAndQuery::as_str)
}

fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode(segment.as_bytes())
}
