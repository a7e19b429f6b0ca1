//! Removes the headers that a caller may not set.
//!
//! Each header goes in every spelling: many applications take `x_envoy_internal` for
//! `x-envoy-internal`.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::matcher::header;

/// Removes what nobody outside the mesh may say, at its edge: what steers proxies and layers, and
/// what speaks for other callers, what overrides the method or the path (rule B-37), and baggage, `baggage` and Jaeger's `uberctx-`.
/// Every name with a `_` goes (rule B-12), because many applications take `x_role` for the `x-role`
/// that policy has judged.
///
/// `x-forwarded-for` and `x-forwarded-proto` stay, for [`client_ip`](super::forwarded_for::client_ip)
/// and [`set_scheme`].
///
/// # Differences from Envoy/Istio
///
/// Envoy's edge removes the headers of its own that it knows by name, keeps peer metadata and
/// `x-forwarded-host`, and does not know the other spellings. It passes names with a `_` on unless
/// `headers_with_underscores_action` is set.
pub fn from_outside(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        name.contains('_')
            || OUTSIDE_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
            || OUTSIDE_NAMES.contains(&name)
            || OVERRIDES.contains(&name)
    });
}

/// Removes what a caller of the mesh may not say: the headers that an Istio sidecar removes. All
/// others stay, as they do there; but for other spellings of peer metadata, which is for metrics
/// alone.
pub fn from_mesh(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        may_be_envoys(name) && {
            let plain = plain(name);
            let is_other_spelling = plain != name && PEER_METADATA.contains(&&*plain);
            plain.starts_with(ENVOY) && (is_other_spelling || header::never_comes(&plain))
        }
    });
}

/// Whether a name may be one of Envoy's own, in some spelling. Asked of the headers of every
/// request.
pub(in crate::gate) fn may_be_envoys(name: &str) -> bool {
    matches!(name.as_bytes(), [b'x', b'-' | b'_', b'e', ..])
}

/// Removes Envoy's own headers, which a caller from outside the mesh may not set.
pub fn envoys(headers: &mut HeaderMap) {
    remove_where(headers, |name| plain(name).starts_with(ENVOY));
}

/// Removes what overrides the method or the path, in every spelling (rule B-37).
pub(in crate::gate) fn overrides(headers: &mut HeaderMap) {
    remove_where(headers, is_override);
}

/// Whether frameworks may take a header of this name for another method or path than was judged.
pub(in crate::gate) fn is_override(name: &str) -> bool {
    OVERRIDES
        .iter()
        .any(|known| header::is_same_name(name, known))
}

/// Removes from the trailers of a request what says who asks, or how the request came. No guard has
/// judged trailers, and some programs take them for headers. `written` are the headers that guards
/// write.
pub fn from_trailers(trailers: &mut HeaderMap, written: &[HeaderName]) {
    from_outside(trailers);
    remove_where(trailers, |name| {
        let is = |known: &str| header::is_same_name(name, known);
        plain(name).starts_with("x-forwarded-")
            || CREDENTIALS.iter().any(|known| is(known))
            || written.iter().any(|written| is(written.as_str()))
    });
}

/// Sets `x-forwarded-proto` at an edge: to the scheme of the connection, or to what a trusted hop
/// says, if that is a scheme.
pub fn set_scheme(headers: &mut HeaderMap, is_tls: bool, has_trusted_hop: bool) {
    let lines = headers.get_all(PROTO).iter().map(HeaderValue::as_bytes);
    let scheme = header::scheme(is_tls, lines.filter(|_| has_trusted_hop));
    headers.insert(PROTO, HeaderValue::from_static(scheme));
}

/// Removes a header that is spelled with `-`, `_` or both.
pub(super) fn remove_every_spelling(headers: &mut HeaderMap, known: &str) {
    remove_where(headers, |name| header::is_same_name(name, known));
}

/// Looks at each name once: to begin anew after each removal would cost the square of what the
/// caller sends.
fn remove_where(headers: &mut HeaderMap, mut goes: impl FnMut(&str) -> bool) {
    let names: Vec<_> = headers
        .keys()
        .filter(|name| goes(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// A name with `-` for `_`.
fn plain(name: &str) -> Cow<'_, str> {
    if name.contains('_') {
        Cow::Owned(name.replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const ENVOY: &str = "x-envoy-";

const OUTSIDE_PREFIXES: [&str; 6] = [
    ENVOY,
    "x-istio-",
    "l5d-",
    "x-ext-authz-",
    "x-tower-mesh-",
    "uberctx-",
];

const OUTSIDE_NAMES: [&str; 5] = [
    "baggage",
    "forwarded",
    "x-forwarded-client-cert",
    "x-forwarded-host",
    "x-forwarded-port",
];

/// Headers by which frameworks take another method or path than the one that was judged.
const OVERRIDES: [&str; 5] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

const PEER_METADATA: [&str; 2] = ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"];

const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

#[cfg(test)]
mod tests {
    use super::*;

    /// As many other headers as Envoy's, each with two values, in the order that is worst for a
    /// loop that starts again after each removal.
    fn many(count: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for prefix in ["x-other-", "x-envoy-"] {
            for index in 0..count {
                let name: HeaderName = format!("{prefix}{index}").parse().unwrap();
                headers.append(name.clone(), HeaderValue::from_static("1"));
                headers.append(name, HeaderValue::from_static("2"));
            }
        }
        headers
    }

    /// H-12.
    #[test]
    fn all_of_envoys_headers_go_and_no_other() {
        let mut headers = many(100);
        headers.append("X-Envoy-Peer-Metadata", HeaderValue::from_static("m"));
        headers.append("x_envoy-internal", HeaderValue::from_static("true"));
        headers.append("x-envoys", HeaderValue::from_static("m"));
        envoys(&mut headers);
        assert_eq!((headers.keys_len(), headers.len()), (101, 201));
        assert!(
            headers
                .keys()
                .all(|name| !name.as_str().starts_with("x-envoy-"))
        );
    }

    /// what a caller sends costs what it is long.
    #[test]
    fn each_name_is_looked_at_once() {
        for count in [10, 1_000] {
            let mut headers = many(count);
            let mut looks = 0;
            remove_where(&mut headers, |name| {
                looks += 1;
                name.starts_with("x-envoy-")
            });
            assert_eq!((looks, headers.keys_len()), (2 * count, count));
        }
    }

    /// The names that are left of those sent, each of which came twice.
    fn left<'n>(strip: impl Fn(&mut HeaderMap), names: &[&'n str]) -> Vec<&'n str> {
        let mut headers = HeaderMap::new();
        for name in names.iter().chain(names) {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_static("v"));
        }
        strip(&mut headers);
        let mut names = names.to_vec();
        names.retain(|name| headers.remove(*name).is_some());
        assert!(headers.is_empty(), "{headers:?}");
        names
    }

    /// What Envoy's edge removes.
    const OF_ENVOYS_EDGE: [&str; 17] = [
        "x-envoy-decorator-operation",
        "x-envoy-downstream-service-cluster",
        "x-envoy-downstream-service-node",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-external-address",
        "x-envoy-force-trace",
        "x-envoy-internal",
        "x-envoy-ip-tags",
        "x-envoy-max-retries",
        "x-envoy-retry-grpc-on",
        "x-envoy-retry-on",
        "x-envoy-upstream-alt-stat-name",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-rq-timeout-alt-response",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-original-path",
        "x-forwarded-client-cert",
    ];

    /// H-12.
    #[test]
    fn nothing_from_outside_steers_the_mesh_or_speaks_for_others() {
        let none: [&str; 0] = [];
        assert_eq!(left(from_outside, &OF_ENVOYS_EDGE), none);
        let more = [
            "X-Envoy-Peer-Metadata",
            "x-envoy-peer-metadata-id",
            "x-istio-attributes",
            "l5d-client-id",
            "x-ext-authz-user",
            "x-tower-mesh-user",
            "x_envoy_internal",
            "X_Forwarded_Client_Cert",
            "x-forwarded_client-cert",
            "x_istio_attributes",
            "l5d_client_id",
            "x_ext_authz_user",
            "x_tower_mesh_user",
            "x_forwarded_for",
            "x_forwarded_proto",
            "baggage",
            "uberctx-user",
        ];
        assert_eq!(left(from_outside, &more), none);
        let kept = [
            "accept",
            "authorization",
            "l5dx",
            "traceparent",
            "x-envoys",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
        ];
        assert_eq!(left(from_outside, &kept), kept);
    }

    /// B-12: an application may take a name with a `_` for another one, which policy has judged.
    #[test]
    fn no_name_with_an_underscore_enters_at_the_edge() {
        for name in ["x_role", "X_Role", "_", "x-a_b", "authorization_", "_host"] {
            assert!(left(from_outside, &[name]).is_empty(), "{name}");
            assert_eq!(left(from_mesh, &[name]), [name]);
        }
    }

    /// H-12: what a sidecar keeps stays.
    #[test]
    fn callers_of_the_mesh_keep_what_istio_keeps() {
        let kept = [
            "l5d-client-id",
            "x-envoy-attempt-count",
            "x-envoy-decorator-operation",
            "x-envoy-original-path",
            "x-envoy-peer-metadata",
            "x-ext-authz-user",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-istio-attributes",
            "x-request-id",
            "x_role",
        ];
        assert_eq!(left(from_mesh, &kept), kept);
        let gone = [
            "x-envoy-internal",
            "x_envoy_retry_on",
            "x-envoy-force-trace",
            "x_envoy_peer_metadata",
            "x-envoy-peer_metadata-id",
        ];
        assert_eq!(left(from_mesh, &gone).len(), 0);
    }

    /// H-16.
    #[test]
    fn trailers_say_nothing_of_who_asks() {
        let written = [
            HeaderName::from_static("x-user"),
            HeaderName::from_static("x_group"),
        ];
        let strip = |headers: &mut HeaderMap| from_trailers(headers, &written);
        let gone = [
            "Authorization",
            "cookie",
            "proxy_authorization",
            "x-user",
            "X_User",
            "x-group",
            "x_group",
            "x-forwarded-client-cert",
            "x_forwarded_for",
            "x-envoy-internal",
            "baggage",
        ];
        assert_eq!(left(strip, &gone).len(), 0);
        let kept = ["grpc-status", "x-sum", "x-users", "x-request-id"];
        assert_eq!(left(strip, &kept), kept);
    }

    /// H-11.
    #[test]
    fn a_stranger_does_not_say_how_it_came() {
        let said = [
            "forwarded",
            "x-forwarded-host",
            "X-Forwarded-Port",
            "x_forwarded_host",
        ];
        assert_eq!(left(from_outside, &said).len(), 0);
        for (is_tls, has_trusted_hop, lines, expected) in [
            (true, false, &["http"][..], "https"),
            (false, false, &["https"], "http"),
            (false, false, &[], "http"),
            (false, true, &["https"], "https"),
            (true, true, &["HTTP"], "http"),
            (true, true, &["ftp"], "https"),
            (true, true, &["http", "https"], "https"),
            (true, true, &[], "https"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PROTO, HeaderValue::from_static(line));
            }
            set_scheme(&mut headers, is_tls, has_trusted_hop);
            let values: Vec<_> = headers.get_all(PROTO).iter().collect();
            assert_eq!(values, [expected], "{is_tls} {has_trusted_hop} {lines:?}");
        }
    }
}
