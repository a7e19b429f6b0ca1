//! What OpenTelemetry's semantic conventions, as of their version 1.45, call parts of a message.

use http::{Method, Version};

/// The method if the conventions know it: one of RFC 9110, `PATCH` (RFC 5789) or `QUERY`.
pub(crate) fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY",
    ];
    KNOWN.into_iter().find(|known| method.as_str() == *known)
}

/// `network.protocol.version`.
pub(crate) const fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// What stands for a value that the conventions do not know.
pub(crate) const OTHER: &str = "_OTHER";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_from_a_closed_set() {
        let known = |name: &[u8]| known_method(&Method::from_bytes(name).unwrap());
        assert_eq!(known(b"PATCH"), Some("PATCH"));
        assert_eq!(known(b"QUERY"), Some("QUERY"));
        assert_eq!(known(b"get"), None);
        assert_eq!(known(b"PURGE"), None);
    }
}
