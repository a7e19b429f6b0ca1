//! The headers that no answer of an external service may change.

use super::header;

/// Whether the answer of an external service may not set a header of this name (in lower case), in
/// any spelling: many programs take `_` for `-`.
///
/// These are the headers by which what stands behind judges the request's target or its caller,
/// those of one message or connection, and `x-envoy-*`.
pub(crate) fn is_forbidden(name: &str) -> bool {
    const ENVOY: &str = "x-envoy-";
    let is_envoys = name
        .get(..ENVOY.len())
        .is_some_and(|start| header::is_same_name(start, ENVOY));
    is_envoys
        || is_framing(name)
        || FORBIDDEN
            .iter()
            .any(|known| header::is_same_name(name, known))
}

/// Whether a header (in lower case) belongs to one message or one connection.
pub(crate) fn is_framing(name: &str) -> bool {
    FRAMING
        .iter()
        .any(|known| header::is_same_name(name, known))
}

/// Who asks, and by which method or for which path.
const FORBIDDEN: [&str; 8] = [
    "host",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
