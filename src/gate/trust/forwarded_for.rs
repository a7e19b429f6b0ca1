//! Finds the address of the client behind proxies that the operator counts, and tells the next hop.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::matcher::{forwarded, header};

/// The address of the client of an edge: the element of `x-forwarded-for` that the outermost of
/// `trusted_hops` proxies has written, counted from the right. The lines form one list.
///
/// It is the address of the socket for 0 hops, for fewer elements than hops or more than 100, and
/// for an element that is no bare address: one with a port or a scope, say. IPv6 may stand in
/// brackets. A mesh's own server looks at the last element instead:
/// [`forwarded::remote_ip`](crate::matcher::forwarded::remote_ip).
#[must_use]
pub fn client_ip<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    trusted_hops: usize,
    peer: IpAddr,
) -> IpAddr {
    let elements: Vec<_> = forwarded::elements(lines).take(MOST + 1).collect();
    let said = (elements.len() <= MOST)
        .then(|| elements.len().checked_sub(trusted_hops))
        .flatten()
        .and_then(|place| elements.get(place));
    said.and_then(|element| std::str::from_utf8(element).ok())
        .and_then(literal)
        .unwrap_or_else(|| forwarded::socket_ip(peer))
}

/// Appends the address of the socket, as an edge does for the hops behind it. A server inside the
/// mesh leaves the header as it is.
pub fn append(headers: &mut HeaderMap, peer: IpAddr) {
    let lines = headers.get_all(NAME).iter();
    let lines = lines.map(|line| line.as_bytes().trim_ascii());
    let peer = forwarded::socket_ip(peer).to_string();
    let value = match header::joined(lines).filter(|joined| !joined.is_empty()) {
        Some(joined) => HeaderValue::from_bytes(&[&joined, peer.as_bytes()].join(&b',')),
        None => HeaderValue::try_from(peer),
    };
    match value {
        Ok(value) => headers.insert(NAME, value),
        // Values and an address always make a value.
        Err(_) => headers.remove(NAME),
    };
}

fn literal(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        None => text.parse().ok(),
        Some(rest) => rest
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6),
    }
}

const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most elements that are read.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "127.0.0.1";

    fn found(lines: &[&str], hops: usize) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        client_ip(lines, hops, PEER.parse().unwrap()).to_string()
    }

    /// H-10.
    #[test]
    fn hops_are_counted_from_the_right() {
        for (lines, hops, expected) in [
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"][..], 0, PEER),
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"], 1, "3.3.3.3"),
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"], 2, "2.2.2.2"),
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"], 3, "1.1.1.1"),
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"], 4, PEER),
            (&["1.1.1.1, 2.2.2.2,3.3.3.3"], usize::MAX, PEER),
            (&["1.1.1.1", "2.2.2.2"], 2, "1.1.1.1"),
            (&["1.1.1.1", "", " ", "2.2.2.2"], 2, "1.1.1.1"),
            (&["1.1.1.1,,2.2.2.2"], 2, PEER),
            (&["1.1.1.1,"], 1, PEER),
            (&["1.1.1.1,"], 2, "1.1.1.1"),
            (&["garbage, 2.2.2.2"], 1, "2.2.2.2"),
            (&["garbage, 2.2.2.2"], 2, PEER),
            (&["9.9.9.9:55"], 1, PEER),
            (&["[::1]:55"], 1, PEER),
            (&["[::1]"], 1, "::1"),
            (&["[9.9.9.9]"], 1, PEER),
            (&["[::1"], 1, PEER),
            (&["::1]"], 1, PEER),
            (&["2001:db8::1"], 1, "2001:db8::1"),
            (&["2001:db8::1%1"], 1, PEER),
            (&["[fe80::1%eth0]"], 1, PEER),
            (&["\"9.9.9.9\""], 1, PEER),
            (&["09.9.9.9"], 1, PEER),
            (&["unknown"], 1, PEER),
            (&[""], 1, PEER),
            (&[], 1, PEER),
        ] {
            assert_eq!(found(lines, hops), expected, "{lines:?} {hops}");
        }
        let mapped = client_ip([], 1, "::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped.to_string(), "10.0.0.1");
    }

    /// H-10: at most 100 elements.
    #[test]
    fn a_long_list_is_not_believed() {
        let line = |count| vec!["1.1.1.1"; count].join(",");
        assert_eq!(found(&[&line(MOST)], MOST), "1.1.1.1");
        assert_eq!(found(&[&line(MOST + 1)], 1), PEER);
        assert_eq!(found(&["2.2.2.2", &line(MOST)], 1), PEER);
    }

    /// H-10: an edge appends the address of its caller.
    #[test]
    fn an_edge_appends_its_caller() {
        for (lines, peer, expected) in [
            (&[][..], "9.9.9.9", "9.9.9.9"),
            (&[""], "9.9.9.9", "9.9.9.9"),
            (&["1.1.1.1"], "::ffff:9.9.9.9", "1.1.1.1,9.9.9.9"),
            (&["x, 1.1.1.1", "", "y"], "::1", "x, 1.1.1.1,y,::1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(NAME, HeaderValue::from_static(line));
            }
            append(&mut headers, peer.parse().unwrap());
            let values: Vec<_> = headers.get_all(NAME).iter().collect();
            assert_eq!(values, [expected], "{lines:?}");
        }
    }

    proptest! {
        /// H-10: what stands to the left of the counted hops changes nothing.
        #[test]
        fn what_the_client_wrote_changes_nothing(
            forged in proptest::collection::vec("[0-9a-f:., \\[\\]%]{0,20}", 0..4),
            hops in proptest::collection::vec(any::<IpAddr>(), 1..4),
        ) {
            let honest = hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let lines = forged.iter().map(String::as_bytes).chain([honest.as_bytes()]);
            let found = client_ip(lines, hops.len(), "127.0.0.1".parse().unwrap());
            prop_assert_eq!(found, hops[0]);
        }

        /// H-10: any bytes give the counted element or the socket.
        #[test]
        fn any_bytes_give_the_counted_element_or_the_socket(
            lines in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..20),
                    "((1\\.2\\.3\\.[0-9]|\\[?::[0-9]\\]?|[0-9]?) ?,?){0,3}".prop_map(String::into_bytes),
                ],
                0..4,
            ),
            hops in 0_usize..4,
        ) {
            let peer = "127.0.0.1".parse().unwrap();
            let found = client_ip(lines.iter().map(Vec::as_slice), hops, peer);
            let filled: Vec<_> = lines.iter().map(|line| line.trim_ascii()).filter(|line| !line.is_empty()).collect();
            let joined = filled.join(&b',');
            let counted = hops.checked_sub(1).and_then(|skipped| joined.rsplit(|byte| *byte == b',').nth(skipped));
            let text = counted.and_then(|element| std::str::from_utf8(element.trim_ascii()).ok()).unwrap_or_default();
            let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let address = match bracketed {
                Some(text) => text.parse().ok().filter(IpAddr::is_ipv6),
                None => text.parse().ok(),
            };
            prop_assert_eq!(found, address.unwrap_or(peer));
        }
    }
}
