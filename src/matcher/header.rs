//! How Envoy stores request headers, as far as matchers can tell.

/// Whether Envoy stores this header once, so that several lines of it reach the matchers as one value joined with `,`.
///
/// `name` is in lower case. All other headers are tested value by value.
#[must_use]
pub fn is_joined(name: &str) -> bool {
    JOINED.binary_search(&name).is_ok()
}

/// Sorted.
const JOINED: [&str; 23] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-timeout",
    "if-match",
    "if-none-match",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-envoy-decorator-operation",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_found() {
        assert!(JOINED.is_sorted());
        assert!(is_joined("x-request-id") && is_joined("accept") && is_joined("authorization"));
        for alone in [
            "accept-language",
            "cookie",
            "x-api-key",
            "range",
            "traceparent",
            "x",
        ] {
            assert!(!is_joined(alone), "{alone}");
        }
    }
}
