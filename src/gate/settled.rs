//! Makes the headers that the application sees the same as those that policy sees.

use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::headers::{Scan, is_padded};
use crate::context::{Exchange, Peer};
use crate::matcher::header::{self, Stored};

/// Brings the headers into the form in which policy sees them: removes what Envoy removes, repairs
/// what it repairs, and joins the lines of headers that it stores once. Values lose surrounding
/// whitespace, which HTTP/2 lets through.
///
/// `x-forwarded-client-cert` over TLS stays for policy, and is [removed](take_off_hearsay) after
/// it. Nothing is allocated if nothing changes.
pub(crate) fn settle(head: &mut Parts, exchange: &Exchange) {
    let scan = Scan::of(&head.headers);
    settle_scanned(head, scan, shows_client_cert(exchange));
}

/// As [`settle`], for headers that were scanned already; some may have been removed since.
pub(super) fn settle_scanned(head: &mut Parts, scan: Scan, shows_client_cert: bool) {
    let is_http2 = head.version >= Version::HTTP_2;
    let headers = &mut head.headers;
    let has_several = headers.len() > headers.keys_len();
    if scan.is_padded {
        headers.values_mut().for_each(trim);
    }
    let mut changing = scan.changing;
    for (rank, name) in header::changing().enumerate() {
        if changing == 0 {
            break;
        }
        if changing & (1 << rank) != 0 {
            changing ^= 1 << rank;
            settle_one(headers, &HeaderName::from_static(name), shows_client_cert);
        }
    }
    if has_several {
        join_lines(headers, shows_client_cert);
        if is_http2 {
            join_crumbs(headers);
        }
    }
}

/// Removes a header that policy sees and the application must not (rules H-01 and H-16), in every
/// spelling: what a peer says about earlier callers is not an identity.
pub(crate) fn take_off_hearsay(headers: &mut HeaderMap, exchange: &Exchange) {
    if exchange.keeps_client_cert() {
        return;
    }
    // Few names have this length, so comparing them is cheaper than hashing this one.
    let is_one = |name: &&HeaderName| header::is_same_name(name.as_str(), FORWARDED_CLIENT_CERT);
    if !headers.keys().any(|name| is_one(&name)) {
        return;
    }
    let names: Vec<_> = headers.keys().filter(is_one).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether policy sees `x-forwarded-client-cert`.
pub(super) fn shows_client_cert(exchange: &Exchange) -> bool {
    exchange.keeps_client_cert() || exchange.peer().is_some_and(Peer::is_tls)
}

fn settle_one(headers: &mut HeaderMap, name: &HeaderName, is_tls: bool) {
    let changed = match stored(headers, name, is_tls) {
        Stored::Lines if *name == CONNECTION => {
            // `connection` stays only for an upgrade. It must name no other header, or a later hop
            // would remove that header.
            let is_bare = is_alone(headers, name, |line| line.eq_ignore_ascii_case(b"upgrade"));
            (!is_bare).then(|| Some(HeaderValue::from_static("upgrade")))
        }
        Stored::Lines => None,
        Stored::One(value) if is_alone(headers, name, |line| *line == *value) => None,
        Stored::One(value) => Some(HeaderValue::from_bytes(&value).ok()),
        _ => Some(None),
    };
    match changed {
        None => {}
        Some(Some(value)) => drop(headers.insert(name.clone(), value)),
        Some(None) => drop(headers.remove(name)),
    }
}

/// Joins the lines of every header that is stored as one.
fn join_lines(headers: &mut HeaderMap, is_tls: bool) {
    // The lines of one header are adjacent.
    let names = || headers.iter().map(|(name, _)| name);
    let twins = names().zip(names().skip(1)).filter(|(a, b)| a == b);
    let mut several: Vec<_> = twins
        .map(|(name, _)| name)
        .filter(|name| header::is_joined(name.as_str()))
        .cloned()
        .collect();
    several.dedup();
    for name in several {
        settle_one(headers, &name, is_tls);
    }
}

/// Joins the pieces of a cookie, which HTTP/2 may send separately (RFC 9113 §8.2.3).
fn join_crumbs(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut cookie = first.to_vec();
    for crumb in std::iter::once(second).chain(lines) {
        cookie.extend_from_slice(b"; ");
        cookie.extend_from_slice(crumb);
    }
    if let Ok(cookie) = HeaderValue::from_maybe_shared(Bytes::from(cookie)) {
        headers.insert(COOKIE, cookie);
    }
}

fn stored<'h>(headers: &'h HeaderMap, name: &HeaderName, is_tls: bool) -> Stored<'h> {
    header::stored(name.as_str(), is_tls, |name| {
        let lines = headers.get_all(name).iter();
        lines.map(|line| line.as_bytes().trim_ascii())
    })
}

fn is_alone(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&[u8]) -> bool) -> bool {
    let mut lines = headers.get_all(name).iter();
    lines.next().is_some_and(|line| is(line.as_bytes())) && lines.next().is_none()
}

fn trim(value: &mut HeaderValue) {
    if is_padded(value)
        && let Ok(mut trimmed) = HeaderValue::from_bytes(value.as_bytes().trim_ascii())
    {
        trimmed.set_sensitive(value.is_sensitive());
        *value = trimmed;
    }
}

const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(headers: &HeaderMap, name: &'static str, is_tls: bool) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        let lines = |name: &str| {
            let lines = headers.get_all(name).iter();
            lines.map(|line| line.as_bytes().trim_ascii())
        };
        header::any_value(name, is_tls, lines, &mut |value| {
            seen.push(value.to_vec());
            false
        });
        seen
    }

    const NAMES: [&str; 16] = [
        "accept",
        "authorization",
        "connection",
        "cookie",
        "http2-settings",
        "keep-alive",
        "origin",
        "referer",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-envoy-internal",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-request-id",
        "x-role",
    ];

    proptest! {
        /// Rule 1 of the security page: the application gets the same values of the sent headers
        /// that policy saw.
        #[test]
        fn the_application_gets_the_values_that_policy_saw(
            sent in proptest::collection::vec(
                (0..NAMES.len(), prop_oneof![
                    "[ab,]{0,3}", "[ \t]?[ab]{0,2}[ \t]?", "(upgrade|h2c|websocket|trailers|close|te)(, ?(upgrade|trailers))?", "http://[a@#]{1,3}",
                ]),
                0..8,
            ),
            is_tls in any::<bool>(),
        ) {
            let (mut head, ()) = http::Request::new(()).into_parts();
            let headers = &mut head.headers;
            for (name, value) in &sent {
                headers.append(NAMES[*name], HeaderValue::from_str(value).unwrap());
            }
            let before = NAMES.map(|name| seen(headers, name, is_tls));
            let scan = Scan::of(&head.headers);
            settle_scanned(&mut head, scan, is_tls);
            let headers = &head.headers;
            for (name, before) in NAMES.into_iter().zip(before) {
                let after = seen(headers, name, is_tls);
                let got: Vec<_> = headers.get_all(name).iter().map(|line| line.as_bytes().to_vec()).collect();
                match name {
                    // Policy sees it; a step after policy removes it.
                    "x-forwarded-client-cert" => prop_assert_eq!(before, after),
                    // Only an upgrade.
                    "connection" => {
                        prop_assert_eq!(before.is_empty(), got.is_empty());
                        prop_assert!(got.len() <= 1 && got.iter().all(|line| line.eq_ignore_ascii_case(b"upgrade")));
                    }
                    // Envoy would set it.
                    "x-request-id" if got.is_empty() => prop_assert_eq!(before, after),
                    _ => {
                        prop_assert_eq!(&before, &got, "{}", name);
                        prop_assert_eq!(&before, &after, "{}", name);
                    }
                }
            }
            let once = headers.clone();
            let scan = Scan::of(&head.headers);
            settle_scanned(&mut head, scan, is_tls);
            prop_assert_eq!(&once, &head.headers);
        }
    }
}
