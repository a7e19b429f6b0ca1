//! What policy judges of a request's target, and what the application must then see of it.

use std::borrow::Cow;

use http::header;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};

use crate::matcher::authority;
use crate::matcher::path::{self, Normalization, PathRefusal};
use crate::message::LocalReply;

/// The normalized path and query of a request; borrowed when nothing changes.
///
/// # Errors
///
/// The reply to what Envoy answers without asking policy: 400 to a target that cannot be normalized, to a host that cannot be one and to
/// several, 403 to CONNECT.
pub(crate) fn normalized(
    head: &Parts,
    target: &Uri,
    how: Normalization,
) -> Result<Option<String>, LocalReply> {
    if head.method == Method::CONNECT {
        return Err(LocalReply::new(StatusCode::FORBIDDEN, "", "upgrade_failed"));
    }
    check_host(head, target)?;
    match path::normalize(target_text(target), how) {
        Ok(Cow::Borrowed(_)) => Ok(None),
        Ok(Cow::Owned(normalized)) => Ok(Some(normalized)),
        Err(refusal) => Err(refuse(refusal)),
    }
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
    let path = |target: &'_ str| target.split('?').next().unwrap_or_default().to_owned();
    let (raw, normalized) = (path(raw), path(normalized));
    let same = raw.split('/').count() == normalized.split('/').count()
        && raw
            .split('/')
            .zip(normalized.split('/'))
            .all(|(a, b)| decoded(a).eq(decoded(b)));
    if same {
        Ok(())
    } else {
        Err(bad_request("path_normalization_failed"))
    }
}

pub(crate) fn target_text(target: &Uri) -> &str {
    target.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// That the request names one host that could be one. Envoy joins several `Host` lines to one that no exact rule matches; RFC 9112 §3.2
/// demands the refusal.
fn check_host(head: &Parts, target: &Uri) -> Result<(), LocalReply> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let legal = hosts
        .next()
        .is_none_or(|host| authority::is_legal(host.as_bytes()));
    let is_absolute = head.version < Version::HTTP_2;
    let named = target.authority().is_none_or(|named| match is_absolute {
        true => authority::of_target(named.as_str()).is_some(),
        false => authority::is_legal(named.as_str().as_bytes()),
    });
    if legal && named && hosts.next().is_none() {
        Ok(())
    } else {
        Err(refuse(PathRefusal::Authority))
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
