//! The reply to a bad token: status, text and challenge.

use http::Uri;
use http::header::{self, HeaderValue};
use http::request::Parts;

use super::refusal::Refusal;
use crate::context::{Exchange, Peer};
use crate::message::LocalReply;

/// Bytes of path and query that the realm shows.
const REALM_PATH: usize = 256;

/// Envoy's reply to a bad or missing token: the status text, and a challenge that names the
/// resource.
///
/// The realm of the challenge leaves out query parameters that may hold a token, which Envoy's does
/// not: `shown` is the target without them.
pub(crate) fn refuse(
    refusal: Refusal,
    head: &Parts,
    exchange: &Exchange,
    shown: &Uri,
) -> LocalReply {
    let text = refusal.to_string();
    let details = format!("jwt_authn_access_denied{{{}}}", text.replace(' ', "_"));
    let reply = LocalReply::new(refusal.status(), text, details);
    match challenge(refusal, head, exchange, shown) {
        Some(challenge) => reply.header(header::WWW_AUTHENTICATE, challenge),
        None => reply,
    }
}

fn challenge(
    refusal: Refusal,
    head: &Parts,
    exchange: &Exchange,
    uri: &Uri,
) -> Option<HeaderValue> {
    let scheme = match exchange.peer().map(Peer::is_tls) {
        Some(true) => "https",
        Some(false) => "http",
        None => uri.scheme_str().unwrap_or("http"),
    };
    let authority = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => head
            .headers
            .get(header::HOST)
            .map_or(&b""[..], HeaderValue::as_bytes),
    };
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let path = path.as_bytes().get(..REALM_PATH).unwrap_or(path.as_bytes());
    let mut value = Vec::with_capacity(authority.len() + path.len() + 64);
    value.extend_from_slice(b"Bearer realm=\"");
    let realm = [scheme.as_bytes(), b"://", authority, path];
    for byte in realm.into_iter().flatten() {
        // A quote would end the realm early.
        match byte {
            b'"' => value.extend_from_slice(b"%22"),
            b'\\' => value.extend_from_slice(b"%5C"),
            byte => value.push(*byte),
        }
    }
    value.push(b'"');
    // A request without a token gets no error code (RFC 6750 §3.1).
    if refusal != Refusal::NoToken {
        value.extend_from_slice(b", error=\"invalid_token\"");
    }
    HeaderValue::from_bytes(&value).ok()
}
