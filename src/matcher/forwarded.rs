//! Finds the IP address that a request came from.

use std::net::{IpAddr, Ipv6Addr};

/// The address of a socket as matchers use it: an IPv4-mapped address (`::ffff:a.b.c.d`) becomes
/// IPv4.
///
/// Use it only for socket addresses: the same text in `x-forwarded-for` stays IPv6.
#[must_use]
pub fn socket_ip(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Envoy's `remote_ip` in a sidecar (`use_remote_address: false`): the last element of
/// `x-forwarded-for`, trimmed, if it is a bare IP address; else the connection's own address.
///
/// `forwarded` holds every value of the header in the order in which they arrived; the lines form
/// one list. A client that connects to the workload directly can choose this address, so trust it
/// only behind a gateway.
#[must_use]
pub fn remote_ip<'a>(forwarded: impl IntoIterator<Item = &'a [u8]>, peer: IpAddr) -> IpAddr {
    let last = elements(forwarded).last();
    last.and_then(|element| std::str::from_utf8(element).ok())
        .and_then(literal)
        .unwrap_or_else(|| socket_ip(peer))
}

/// The elements of the header, trimmed. Its lines form one list, to which an empty line adds
/// nothing, not even a comma.
pub(crate) fn elements<'a>(
    forwarded: impl IntoIterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = forwarded.into_iter().map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty())
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// An IP address. An IPv6 address may have a numeric scope, which matchers ignore.
fn literal(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        None => text.parse().ok(),
        Some((address, scope)) => {
            let is_number = !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_digit());
            let address: Ipv6Addr = address.parse().ok()?;
            (is_number && scope.parse::<u32>().is_ok()).then_some(address.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_bare_literal_at_the_end_counts() {
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        for (lines, expected) in [
            (vec![], "127.0.0.1"),
            (vec!["1.1.1.1, 9.9.9.9"], "9.9.9.9"),
            (vec!["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            (vec!["9.9.9.9:55"], "127.0.0.1"),
            (vec!["9.9.9.9,"], "127.0.0.1"),
            (vec!["[::1]"], "127.0.0.1"),
            (vec!["\"9.9.9.9\""], "127.0.0.1"),
            (vec!["fe80::1%eth0"], "127.0.0.1"),
            (vec!["unknown"], "127.0.0.1"),
            (vec![" 2001:db8::1 "], "2001:db8::1"),
            (vec!["::ffff:1.2.3.4"], "::ffff:1.2.3.4"),
            (vec!["1.1.1.1", "9.9.9.9"], "9.9.9.9"),
            (vec!["9.9.9.9", " "], "9.9.9.9"),
            (vec!["9.9.9.9", "", "x"], "127.0.0.1"),
            (vec!["2001:db8::1%1"], "2001:db8::1"),
            (vec!["9.9.9.9%1"], "127.0.0.1"),
        ] {
            let found = remote_ip(lines.iter().map(|line| line.as_bytes()), peer);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{lines:?}");
        }
        let mapped = remote_ip([], "::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped, "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_last_element_or_the_peer(
            lines in proptest::collection::vec(
                prop_oneof![proptest::collection::vec(any::<u8>(), 0..20), "[0-9a-f:., ]{0,20}".prop_map(String::into_bytes)],
                0..4,
            ),
        ) {
            let peer = "127.0.0.1".parse().unwrap();
            let found = remote_ip(lines.iter().map(Vec::as_slice), peer);
            let filled: Vec<_> = lines.iter().map(|line| line.trim_ascii()).filter(|line| !line.is_empty()).collect();
            let joined = filled.join(&b',');
            let last = joined.rsplit(|byte| *byte == b',').next().unwrap();
            let literal = std::str::from_utf8(last.trim_ascii()).ok().and_then(|text| text.parse().ok());
            prop_assert_eq!(found, literal.unwrap_or(peer));
        }
    }
}
