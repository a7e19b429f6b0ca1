//! How Envoy stores request headers, as far as matchers can tell.

use std::borrow::Cow;

use super::referer;

/// Calls `visit` with each value of a header, as Envoy's matchers see them, until it returns `true`; says whether it did.
///
/// `name` is in lower case and no pseudo-header; `lines` gives the values of a header by its name, trimmed, in the order they came. Headers
/// that Envoy stores once come as one value, those it takes off do not come, and those it sets come also when they were not sent.
pub fn any_value<'n, 'v, L>(
    name: &'n str,
    is_tls: bool,
    lines: impl Fn(&'n str) -> L,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> bool
where
    L: IntoIterator<Item = &'v [u8]>,
{
    if is_removed(name, is_tls, &lines) {
        return false;
    }
    if name == "te" && elements(lines(name)).any(|element| element == TRAILERS) {
        return visit(TRAILERS);
    }
    let mut values = lines(name).into_iter();
    if !is_joined(name) {
        return values.any(visit);
    }
    let added = appended(name);
    let Some(first) = values.next() else {
        return added.or_else(|| supplied(name, is_tls)).is_some_and(visit);
    };
    let mut joined = Cow::Borrowed(first);
    for value in values.chain(added) {
        // Envoy puts a comma between two texts only, not where one is empty.
        if joined.is_empty() {
            joined = Cow::Borrowed(value);
        } else if !value.is_empty() {
            joined = [&joined, &b","[..], value].concat().into();
        }
    }
    (name != "referer" || referer::is_one(&joined)) && visit(&joined)
}

/// `:scheme` of a request whose target names none: what `x-forwarded-proto` says if that is one, else how the connection is.
pub fn scheme<'v>(is_tls: bool, forwarded: impl IntoIterator<Item = &'v [u8]>) -> &'static str {
    let mut forwarded = forwarded.into_iter().filter(|line| !line.is_empty());
    let said = match (forwarded.next(), forwarded.next()) {
        (Some(only), None) => ["http", "https"]
            .into_iter()
            .find(|known| only.eq_ignore_ascii_case(known.as_bytes())),
        _ => None,
    };
    said.unwrap_or(if is_tls { "https" } else { "http" })
}

/// Whether Envoy stores this header once, so that several lines of it reach the matchers as one value joined with `,`.
///
/// `name` is in lower case. All other headers are tested value by value.
#[must_use]
pub fn is_joined(name: &str) -> bool {
    JOINED.binary_search(&name).is_ok()
}

/// Whether policy never sees a header of this name, in lower case, whoever sends it and over whatever connection.
#[must_use]
pub fn never_comes(name: &str) -> bool {
    matches!(
        name,
        "keep-alive" | "proxy-connection" | "transfer-encoding"
    ) || INTERNAL.binary_search(&name).is_ok()
}

/// Whether Envoy takes the header off before policy sees the request: headers of one hop, unless they upgrade the connection, `te`
/// other than `trailers`, `x-forwarded-client-cert` from a plaintext peer, and what only a mesh's own proxies may ask Envoy for.
fn is_removed<'n, 'v, L>(name: &'n str, is_tls: bool, lines: impl Fn(&'n str) -> L) -> bool
where
    L: IntoIterator<Item = &'v [u8]>,
{
    let upgrades = || {
        elements(lines("connection")).any(|element| element.eq_ignore_ascii_case(b"upgrade"))
            && lines("upgrade").into_iter().next().is_some()
    };
    let is_kept_te = |element: &[u8]| element == TRAILERS || element.is_empty();
    match name {
        "x-forwarded-client-cert" => !is_tls,
        "te" => !elements(lines("te")).any(is_kept_te) && !upgrades(),
        "connection" | "upgrade" => !upgrades(),
        _ => never_comes(name),
    }
}

/// The elements of a header that is a list.
fn elements<'v>(lines: impl IntoIterator<Item = &'v [u8]>) -> impl Iterator<Item = &'v [u8]> {
    let elements = lines
        .into_iter()
        .flat_map(|line| line.split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii)
}

/// What Envoy sets in a request that came without the header: a request always has a `x-forwarded-proto` and some `x-request-id`. The
/// value of the latter is a stand-in; the real one is not known before it is made.
fn supplied(name: &str, is_tls: bool) -> Option<&'static [u8]> {
    match name {
        "x-forwarded-proto" if is_tls => Some(b"https"),
        "x-forwarded-proto" => Some(b"http"),
        "x-request-id" => Some(b"00000000-0000-4000-8000-000000000000"),
        _ => None,
    }
}

/// What Envoy adds at the end of a header: what it knows of the peer's certificate, for which a stand-in serves.
fn appended(name: &str) -> Option<&'static [u8]> {
    (name == "x-forwarded-client-cert").then_some(b"By=")
}

/// The one thing that `te` may ask for.
const TRAILERS: &[u8] = b"trailers";

/// Headers that steer Envoy, taken off unless the caller is internal, which nobody is to a sidecar. Sorted.
const INTERNAL: [&str; 16] = [
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
    "x-envoy-upstream-stream-duration-ms",
];

/// Sorted.
const JOINED: [&str; 39] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "te",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
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
            ("te", true, &[("te", "")], false),
            ("te", true, &[("te", "gzip, trailers")], false),
            ("te", true, &[("te", "Trailers")], true),
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
    fn values_come_as_envoy_stores_them() {
        let values = |name: &str, is_tls: bool, lines: &[&str]| {
            let mut seen = Vec::new();
            let given = |wanted: &str| {
                let lines = if wanted == name { lines } else { &[] };
                lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()
            };
            any_value(name, is_tls, given, &mut |value| {
                seen.push(String::from_utf8_lossy(value).into_owned());
                false
            });
            seen
        };
        for (name, is_tls, lines, expected) in [
            ("x", false, &["a", "", "b"][..], &["a", "", "b"][..]),
            ("x", false, &[], &[]),
            ("accept", false, &["a", "b", "c"], &["a,b,c"]),
            ("accept", false, &["a", "", "b"], &["a,b"]),
            ("accept", false, &["", "a"], &["a"]),
            ("accept", false, &["", ""], &[""]),
            ("referer", false, &["/a"], &["/a"]),
            ("referer", false, &["/a", ""], &["/a"]),
            ("referer", false, &["/a", "/b"], &["/a,/b"]),
            ("referer", false, &["http://a", "http://b"], &[]),
            ("te", false, &["gzip", "trailers"], &["trailers"]),
            ("te", false, &["", ""], &[""]),
            ("te", false, &["gzip"], &[]),
            ("referer", false, &["a b"], &[]),
            ("x-forwarded-proto", true, &[], &["https"]),
            ("x-forwarded-proto", true, &["q"], &["q"]),
            ("x-forwarded-client-cert", false, &["q"], &[]),
            ("x-forwarded-client-cert", true, &["q"], &["q,By="]),
            ("x-forwarded-client-cert", true, &[], &["By="]),
        ] {
            assert_eq!(values(name, is_tls, lines), expected, "{name} {lines:?}");
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
