//! How Envoy stores request headers, as far as matchers can tell.

/// Whether Envoy stores this header once, so that several lines of it reach the matchers as one value joined with `,`.
///
/// `name` is in lower case. All other headers are tested value by value.
#[must_use]
pub fn is_joined(name: &str) -> bool {
    JOINED.binary_search(&name).is_ok()
}

/// Whether Envoy takes the header off before policy sees the request: headers of one hop, unless they upgrade the connection, `te`
/// other than `trailers`, `x-forwarded-client-cert` from a plaintext peer, and what only a mesh's own proxies may ask Envoy for.
///
/// `name` is in lower case; `lines` gives the values of a header by its name.
pub fn is_removed<'v, L>(name: &str, is_tls: bool, lines: impl Fn(&'static str) -> L) -> bool
where
    L: IntoIterator<Item = &'v [u8]>,
{
    let says = |name, word: &str| {
        lines(name)
            .into_iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .any(|element| element.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    let upgrades =
        || says("connection", "upgrade") && lines("upgrade").into_iter().next().is_some();
    match name {
        "x-forwarded-client-cert" => !is_tls,
        "te" => !says("te", "trailers") && !upgrades(),
        "connection" | "upgrade" => !upgrades(),
        "keep-alive" | "proxy-connection" | "transfer-encoding" => true,
        _ => INTERNAL.binary_search(&name).is_ok(),
    }
}

/// What Envoy sets in a request that came without the header: a request always has a `x-forwarded-proto` and some `x-request-id`. The
/// value of the latter is a stand-in; the real one is not known before it is made.
///
/// `name` is in lower case.
#[must_use]
pub fn supplied(name: &str, is_tls: bool) -> Option<&'static [u8]> {
    match name {
        "x-forwarded-proto" if is_tls => Some(b"https"),
        "x-forwarded-proto" => Some(b"http"),
        "x-request-id" => Some(b"00000000-0000-4000-8000-000000000000"),
        _ => None,
    }
}

/// Headers that steer Envoy, taken off unless the caller is internal, which nobody is to a sidecar. Sorted.
const INTERNAL: [&str; 15] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
];

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
    fn headers_of_one_hop_are_taken_off_unless_they_upgrade() {
        let removed = |name: &str, is_tls: bool, headers: &[(&str, &str)]| {
            is_removed(name, is_tls, |wanted| {
                let lines = headers.iter().filter(move |(name, _)| *name == wanted);
                lines.map(|(_, value)| value.as_bytes()).collect::<Vec<_>>()
            })
        };
        let upgrade = [("connection", "Keep-Alive, Upgrade"), ("upgrade", "h2c")];
        let half = [("connection", "upgrade")];
        for (name, is_tls, headers, expected) in [
            ("x-forwarded-client-cert", false, &[][..], true),
            ("x-forwarded-client-cert", true, &[], false),
            ("te", true, &[("te", "gzip")], true),
            ("te", true, &[("te", "gzip, Trailers")], false),
            ("te", true, &upgrade, false),
            ("connection", true, &upgrade, false),
            ("upgrade", true, &upgrade, false),
            ("connection", true, &half, true),
            ("upgrade", true, &[("upgrade", "h2c")], true),
            ("keep-alive", true, &upgrade, true),
            ("proxy-connection", true, &[], true),
            ("transfer-encoding", true, &[], true),
            ("x-envoy-retry-on", true, &[], true),
            ("x-envoy-original-path", true, &[], false),
            ("accept", false, &[], false),
        ] {
            assert_eq!(
                removed(name, is_tls, headers),
                expected,
                "{name} {headers:?}"
            );
        }
    }

    #[test]
    fn the_list_is_sorted_and_found() {
        assert!(JOINED.is_sorted() && INTERNAL.is_sorted());
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
