//! What a span shows of a request's method and target.

use std::borrow::Cow;

use http::{HeaderValue, Uri, header, request};

use crate::context::{Exchange, Hide};
use crate::matcher::authority::shown;
use crate::matcher::query;
use crate::propagation::format::headers::text;

/// The authority of a request, of its target, else its `host`: as much as a span should show of it,
/// without a password.
pub(in crate::propagation) fn authority(request: &request::Parts) -> Option<&str> {
    named(request, || request.headers.get(header::HOST))
}

fn named<'a>(
    request: &'a request::Parts,
    host: impl FnOnce() -> Option<&'a HeaderValue>,
) -> Option<&'a str> {
    let whole = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => host().and_then(text)?,
    };
    Some(cut(shown(whole)))
}

pub(in crate::propagation) fn url(
    request: &request::Parts,
    host: Option<&HeaderValue>,
    target: &Uri,
    path: &str,
    is_tls: bool,
) -> String {
    let scheme = match (is_tls, target.scheme_str()) {
        (true, _) | (false, Some("https")) => "https",
        (false, _) => "http",
    };
    let authority = named(request, || host).unwrap_or_default();
    let path = cut(path);
    let mut url = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
    for part in [scheme, "://", authority, path] {
        url.push_str(part);
    }
    url
}

/// The path without the query parameters that may hold a bearer token (rule J-25): a reader of
/// spans must not be able to use it. Neither does it show what signs a URL, by OpenTelemetry's
/// list.
///
/// Guards say which ones; where none has come to look, the parameter's name and the form of its
/// value do.
pub(in crate::propagation) fn without_tokens<'p>(
    path: &'p str,
    exchange: Option<&Exchange>,
) -> Cow<'p, str> {
    let is_dropped = |key: &[u8], value: &[u8]| {
        let mut hidden = exchange.into_iter().flat_map(Exchange::hidden_parameters);
        query::is_token(key, value)
            || is_signing(key)
            || hidden.any(|name| query::is_name(key, name))
    };
    query::without(path, is_dropped).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// The path, which may have a query, without the parameters that the mesh hides.
pub(in crate::propagation) fn hidden<'p>(hide: Option<&Hide>, path: Cow<'p, str>) -> Cow<'p, str> {
    let Some(hide) = hide else {
        return path;
    };
    match path.split_once('?') {
        Some((path, query)) => format!("{}?{query}", hide(path)).into(),
        None => hide(&path).into(),
    }
}

fn is_signing(key: &[u8]) -> bool {
    // A key without escapes is compared as it is.
    match key.contains(&b'%') {
        true => SIGNING.iter().any(|name| query::is_name(key, name)),
        false => SIGNING.iter().any(|name| key == name.as_bytes()),
    }
}

/// The parameters that the conventions for URLs call sensitive.
const SIGNING: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
];

/// At most 256 bytes of it, as Envoy cuts paths; whole characters.
pub(in crate::propagation) fn cut(text: &str) -> &str {
    if text.len() <= 256 {
        return text;
    }
    let end = (0..=256).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
