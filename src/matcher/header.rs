//! How Envoy stores request headers, as far as matchers can observe it.

use std::borrow::Cow;

use super::referer;

/// Whether this header, in lower case, holds what proves an identity: no log, span or metric shows
/// it.
#[cfg(any(feature = "access-log", feature = "cel", feature = "propagation"))]
pub(crate) fn holds_secret(name: &str) -> bool {
    matches!(
        name,
        "authorization" | "proxy-authorization" | "cookie" | "set-cookie"
    )
}

/// How Envoy stores the lines of one header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored<'v> {
    /// Not stored: it was not sent, or Envoy removes it.
    Nothing,
    /// Line by line, as they arrived.
    Lines,
    /// As this one line.
    One(Cow<'v, [u8]>),
}

/// How Envoy stores a header before policy sees it.
///
/// `name` is in lower case and not a pseudo-header. `lines` returns the values of a header by its
/// name, trimmed, in the order in which they arrived.
pub fn stored<'n, 'v, L>(name: &'n str, is_tls: bool, lines: impl Fn(&'n str) -> L) -> Stored<'v>
where
    L: IntoIterator<Item = &'v [u8]>,
{
    if is_removed(name, is_tls, &lines) {
        return Stored::Nothing;
    }
    if name == "te" && elements(lines(name)).any(|element| element == TRAILERS) {
        return Stored::One(Cow::Borrowed(TRAILERS));
    }
    if !is_joined(name) {
        return Stored::Lines;
    }
    match joined(lines(name)) {
        Some(value) if name != "referer" || referer::is_one(&value) => Stored::One(value),
        Some(_) | None => Stored::Nothing,
    }
}

/// Calls `visit` with each value of a header, as Envoy's matchers see it, until `visit` returns
/// `true`. Returns whether that happened.
///
/// The values are those of [`stored`], and also those of headers that Envoy adds itself.
pub fn any_value<'n, 'v, L>(
    name: &'n str,
    is_tls: bool,
    lines: impl Fn(&'n str) -> L,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> bool
where
    L: IntoIterator<Item = &'v [u8]>,
{
    match (stored(name, is_tls, &lines), added(name, is_tls)) {
        (Stored::Lines, _) => lines(name).into_iter().any(visit),
        (Stored::Nothing, Some(Added::Instead(value) | Added::Behind(value))) => visit(value),
        (Stored::Nothing, None) => false,
        (Stored::One(value), Some(Added::Behind(more))) => {
            joined([&*value, more]).is_some_and(|value| visit(&value))
        }
        (Stored::One(value), _) => visit(&value),
    }
}

/// Whether two names of headers, in lower case, are one for programs that take `_` for `-`.
#[must_use]
#[inline]
pub fn is_same_name(one: &str, other: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(dashed).eq(other.bytes().map(dashed))
}

/// Joins lines. Envoy puts a comma only between two non-empty texts.
pub(crate) fn joined<'v>(lines: impl IntoIterator<Item = &'v [u8]>) -> Option<Cow<'v, [u8]>> {
    let mut lines = lines.into_iter();
    let mut joined = Cow::Borrowed(lines.next()?);
    for line in lines.filter(|line| !line.is_empty()) {
        if joined.is_empty() {
            joined = Cow::Borrowed(line);
        } else {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(line);
        }
    }
    Some(joined)
}

/// The headers that may be removed or repaired even if they have only one line. Each comes before
/// the headers on which [`stored`] bases its decision.
pub fn changing() -> impl Iterator<Item = &'static str> {
    OF_ONE_HOP.iter().chain(&INTERNAL).copied()
}

/// The position of a name in the list of [`changing`].
#[must_use]
pub fn changing_rank(name: &str) -> Option<usize> {
    if name.starts_with("x-envoy-") {
        let rank = INTERNAL.binary_search(&name).ok()?;
        return Some(rank + OF_ONE_HOP.len());
    }
    // Most headers have another length.
    if LENGTHS_OF_ONE_HOP >> name.len().min(63) & 1 == 0 {
        return None;
    }
    // As in `OF_ONE_HOP`; a `match` compares without a call.
    Some(match name {
        "http2-settings" => 0,
        "te" => 1,
        "upgrade" => 2,
        "connection" => 3,
        "keep-alive" => 4,
        "proxy-connection" => 5,
        "transfer-encoding" => 6,
        "x-forwarded-client-cert" => 7,
        "referer" => 8,
        _ => return None,
    })
}

/// The scheme of a request: what one `x-forwarded-proto` says, if it is a scheme, else that of the
/// connection.
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

/// Whether Envoy stores this header once, so that matchers see several lines as one value joined
/// with `,`.
///
/// `name` is in lower case. All other headers are tested value by value.
#[must_use]
pub fn is_joined(name: &str) -> bool {
    JOINED.binary_search(&name).is_ok()
}

/// Whether policy never sees a header with this name (in lower case), on any connection.
#[must_use]
pub fn never_comes(name: &str) -> bool {
    matches!(
        name,
        "keep-alive" | "proxy-connection" | "transfer-encoding"
    ) || INTERNAL.binary_search(&name).is_ok()
}

/// Whether Envoy removes the header before policy sees the request. It removes hop-by-hop headers
/// unless they upgrade the connection (to anything but `h2c`), `te` other than `trailers`,
/// `x-forwarded-client-cert` from a plaintext peer, and headers with which only a mesh's own
/// proxies may steer Envoy.
fn is_removed<'n, 'v, L>(name: &'n str, is_tls: bool, lines: impl Fn(&'n str) -> L) -> bool
where
    L: IntoIterator<Item = &'v [u8]>,
{
    let upgrade = || {
        elements(lines("connection")).find(|one| one.eq_ignore_ascii_case(b"upgrade"))?;
        lines("upgrade").into_iter().next()
    };
    let is_h2c = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"h2c");
    let upgrades = || upgrade().is_some_and(|protocol| !is_h2c(protocol));
    let asks_for_trailers = || elements(lines("te")).any(|element| element == TRAILERS);
    let asks_for_more = || lines("te").into_iter().any(|line| !line.is_empty());
    match name {
        "x-forwarded-client-cert" => !is_tls,
        "te" => asks_for_more() && !asks_for_trailers() && !upgrades(),
        "connection" | "upgrade" => !upgrades(),
        "http2-settings" => upgrade().is_some_and(is_h2c),
        _ => never_comes(name),
    }
}

/// The elements of a header whose value is a list.
fn elements<'v>(lines: impl IntoIterator<Item = &'v [u8]>) -> impl Iterator<Item = &'v [u8]> {
    let elements = lines
        .into_iter()
        .flat_map(|line| line.split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii)
}

/// A value that Envoy adds to a request.
enum Added {
    /// Set if the header is missing.
    Instead(&'static [u8]),
    /// Appended to an existing value.
    Behind(&'static [u8]),
}

/// What Envoy adds: every request gets `x-forwarded-proto` and an `x-request-id`; over TLS it also
/// gets what Envoy knows about the peer's certificate. The values of the last two are placeholders,
/// because the real ones do not exist yet.
fn added(name: &str, is_tls: bool) -> Option<Added> {
    Some(match name {
        "x-forwarded-proto" if is_tls => Added::Instead(b"https"),
        "x-forwarded-proto" => Added::Instead(b"http"),
        "x-request-id" => Added::Instead(b"00000000-0000-4000-8000-000000000000"),
        "x-forwarded-client-cert" if is_tls => Added::Behind(b"By="),
        _ => return None,
    })
}

/// The only value of `te` that Envoy keeps.
const TRAILERS: &[u8] = b"trailers";

/// Hop-by-hop headers, headers about the peer of one connection, and `referer`, which must be
/// valid.
const OF_ONE_HOP: [&str; 9] = [
    "http2-settings",
    "te",
    "upgrade",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "x-forwarded-client-cert",
    "referer",
];

/// A bit for the length of each.
pub(crate) const LENGTHS_OF_ONE_HOP: u64 = {
    let (mut lengths, mut names) = (0, OF_ONE_HOP.as_slice());
    while let [name, rest @ ..] = names {
        lengths |= 1 << name.len();
        names = rest;
    }
    lengths
};

/// Headers that steer Envoy. Envoy removes them unless the caller is internal; callers of a sidecar
/// never are. Sorted.
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
        let upgrade = [
            ("connection", "Keep-Alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        let h2c = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "H2C"),
            ("http2-settings", "AA"),
        ];
        let half = [("connection", "upgrade")];
        for (name, is_tls, headers, expected) in [
            ("x-forwarded-client-cert", false, &[][..], true),
            ("x-forwarded-client-cert", true, &[], false),
            ("te", true, &[("te", "gzip")], true),
            ("te", true, &[("te", "")], false),
            ("te", true, &[("te", "gzip, trailers")], false),
            ("te", true, &[("te", "gzip,")], true),
            ("te", true, &[("te", ""), ("te", "gzip")], true),
            ("te", true, &[("te", ","), ("te", "")], true),
            ("te", true, &[("te", "Trailers")], true),
            ("te", true, &upgrade, false),
            ("connection", true, &upgrade, false),
            ("upgrade", true, &upgrade, false),
            ("connection", true, &half, true),
            ("connection", true, &h2c, true),
            ("upgrade", true, &h2c, true),
            ("http2-settings", true, &h2c, true),
            ("http2-settings", true, &h2c[2..], false),
            ("upgrade", true, &[("upgrade", "websocket")], true),
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

    /// [`changing`] lists every header that is removed or repaired with a single line.
    #[test]
    fn what_may_change_is_known() {
        let good: &[&[u8]] = &[b"a b,c"];
        let names = JOINED.iter().chain(&INTERNAL).copied();
        let of_one_hop = ["connection", "keep-alive", "transfer-encoding", "upgrade"];
        let others = ["cookie", "x-role", "user-agent"];
        for name in names.chain(of_one_hop).chain(changing()).chain(others) {
            for is_tls in [true, false] {
                let given = |wanted: &str| if wanted == name { good } else { &[] };
                let given = |wanted: &str| given(wanted).iter().copied();
                let stays = match stored(name, is_tls, given) {
                    Stored::Nothing => false,
                    Stored::Lines => true,
                    Stored::One(value) => *value == *good[0],
                };
                assert!(stays || changing_rank(name).is_some(), "{name}");
                assert_eq!(
                    changing_rank(name),
                    changing().position(|known| known == name)
                );
            }
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
