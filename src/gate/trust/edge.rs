//! What becomes of the headers of callers from outside, where the mesh begins.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{forwarded_for, strip};
use crate::context::Peer;

/// The edge of the mesh: a listener whose callers may come from outside.
///
/// The headers of a caller that has proven no identity lose everything that only the mesh may say
/// ([`strip::from_outside`], and `baggage`). `x-forwarded-proto` becomes the scheme of the
/// connection, and `x-forwarded-for` gets the caller's address. A caller of the mesh is treated as
/// on any other listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Edge {
    trusted_hops: usize,
}

impl Edge {
    /// An edge without proxies in front of it: the client is the other end of the connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many proxies are between the clients and this edge, each of which appends the
    /// address of its caller to `x-forwarded-for`: Istio's `numTrustedProxies`. The client is then
    /// the element at that place from the right ([`forwarded_for::client_ip`]), and the last proxy
    /// says the scheme.
    ///
    /// Every path to the edge must have that many proxies. On a shorter one the client itself
    /// writes the element that is counted.
    pub fn trusted_hops(mut self, hops: usize) -> Self {
        self.trusted_hops = hops;
        self
    }

    /// Makes the headers of a caller from outside what the application and the next hop may
    /// believe. Returns the address of the client.
    pub fn settle(self, headers: &mut HeaderMap, caller: &Peer) -> IpAddr {
        self.settle_from(caller.remote_addr().ip(), caller.is_encrypted(), headers)
    }

    /// As [`settle`](Self::settle), for a caller at this address.
    pub(crate) fn settle_from(
        self,
        address: IpAddr,
        is_encrypted: bool,
        headers: &mut HeaderMap,
    ) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let lines = lines.map(HeaderValue::as_bytes);
        let client = forwarded_for::client_ip(lines, self.trusted_hops, address);
        strip::from_outside(headers);
        strip::set_scheme(headers, is_encrypted, self.trusted_hops > 0);
        forwarded_for::append(headers, address);
        client
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(edge: Edge, caller: &Peer, headers: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let client = edge.settle(&mut map, caller).to_string();
        let mut lines: Vec<_> = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        (client, lines)
    }

    /// H-10, H-11, H-12, H-15: all that a stranger may not say, at once.
    #[test]
    fn a_stranger_speaks_only_for_itself() {
        let (at, local) = (
            "9.9.9.9:1".parse().unwrap(),
            "10.0.0.1:443".parse().unwrap(),
        );
        let sent = [
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x_forwarded_client_cert", "URI=spiffe://td/admin"),
            ("x-forwarded-client-cert", "URI=spiffe://td/admin"),
            ("x-envoy-internal", "true"),
            ("baggage", "role=admin"),
            ("Baggage", "b=1"),
            ("x-role", "kept"),
        ];
        let own_tls = Peer::other_tls(at, local);
        for (hops, caller, client, scheme) in [
            (0, Peer::plaintext(at, local), "9.9.9.9", "http"),
            (0, own_tls.clone(), "9.9.9.9", "https"),
            (1, Peer::plaintext(at, local), "2.2.2.2", "https"),
            (2, own_tls.clone(), "1.1.1.1", "https"),
            (3, own_tls, "9.9.9.9", "https"),
        ] {
            let edge = Edge::new().trusted_hops(hops);
            let expected = [
                "x-forwarded-for: 1.1.1.1, 2.2.2.2,9.9.9.9".to_owned(),
                format!("x-forwarded-proto: {scheme}"),
                "x-role: kept".to_owned(),
            ];
            let got = settled(edge, &caller, &sent);
            assert_eq!(got, (client.to_owned(), expected.to_vec()), "{hops}");
        }
    }
}
