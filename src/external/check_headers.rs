//! The headers of a request as a provider gets to see them.

use http::header::HOST;
use http::{HeaderName, HeaderValue};

use super::AuthorizationRequest;
use crate::matcher::header::{self, Stored};

/// One header as Envoy stores it, its lines joined with `separator`. `None` if Envoy does not store
/// it, or replaces it in a question.
pub(super) fn stored(
    request: &AuthorizationRequest,
    name: &HeaderName,
    separator: &[u8],
) -> Option<Vec<u8>> {
    if *name == HOST || *name == PARTIAL_BODY {
        return None;
    }
    let headers = request.headers();
    let lines = |name: &str| {
        let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        lines.map(<[u8]>::trim_ascii)
    };
    match header::stored(name.as_str(), request.peer().is_tls(), lines) {
        Stored::Nothing => None,
        Stored::One(value) => Some(value.into_owned()),
        Stored::Lines => {
            let lines: Vec<_> = lines(name.as_str()).collect();
            Some(lines.join(separator))
        }
    }
}

/// Whether a header belongs to the message that carries it, so that another message cannot take it.
pub(super) fn is_of_one_message(name: &HeaderName) -> bool {
    super::mutations::is_framing(name.as_str())
}

/// Bytes as text. Each byte that is not UTF-8 becomes `!`, as in Envoy.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
}

/// Tells a provider whether the body that it sees is only the beginning.
pub(super) const PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");
