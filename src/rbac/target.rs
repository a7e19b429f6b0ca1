//! What policy judges of a request's target, and what the application must then see of it.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::matcher::path::{self, Normalization, PathRefusal};
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
    let same = raw.split('/').count() == normalized.split('/').count()
        && raw
            .split('/')
            .zip(normalized.split('/'))
            .all(|(a, b)| decoded(a).eq(decoded(b)));
    if same { Ok(()) } else { Err(refuse_odd()) }
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

/// A path with the query of a request.
pub(crate) fn with_query<'p>(path: &'p str, uri: &Uri) -> Cow<'p, str> {
    match uri.query() {
        None => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("{path}?{query}")),
    }
}

fn refuse(refusal: PathRefusal) -> LocalReply {
    bad_request(refusal.details())
}

fn bad_request(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "", details)
}

/// The bytes of a segment, escapes decoded.
fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut rest = segment.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        rest = after;
        if *byte == b'%'
            && let (Some(high), Some(low)) = (digit(after.first()), digit(after.get(1)))
        {
            rest = after.get(2..).unwrap_or_default();
            return u8::try_from(high * 16 + low).ok();
        }
        Some(*byte)
    })
}
