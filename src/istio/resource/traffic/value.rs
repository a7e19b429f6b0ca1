//! Values that several kinds share.

use std::fmt;

use crate::istio::{Position, Text};

/// `destination`: a service, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// `host`, as written: a short name, without a dot, is of the resource's namespace.
    pub host: Text,
    /// `subset` of a DestinationRule.
    pub subset: Option<Text>,
    /// `port.number`.
    pub port: Option<u16>,
    /// Where it was written.
    pub at: Position,
}

/// A share of all, from 0 to 100 percent in steps of 0.0001 percent, which are Envoy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FractionalPercent(u32);

impl FractionalPercent {
    /// All.
    pub const ALL: Self = Self(1_000_000);

    /// So many millionths; more than 1,000,000 count as 1,000,000.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(if millionths > Self::ALL.0 {
            Self::ALL.0
        } else {
            millionths
        })
    }

    /// Millionths, from 0 to 1,000,000: it holds for so many draws out of a million.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FractionalPercent {
    /// As `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

/// What a port speaks, by Istio's protocol selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC for browsers.
    GrpcWeb,
    /// HTTP over TLS, which stays opaque: it is routed by SNI.
    Https,
    /// TLS of anything else, likewise.
    Tls,
    /// Bytes.
    Tcp,
    /// MongoDB's; bytes.
    Mongo,
    /// MySQL's; bytes.
    MySql,
    /// Redis'; bytes.
    Redis,
    /// Datagrams, which no route concerns.
    Udp,
    /// A port for proxied requests, of a [`Sidecar`](super::Sidecar) only.
    HttpProxy,
    /// Nothing that is known is stated: what the bytes look like decides.
    #[default]
    Unspecified,
}

impl Protocol {
    /// The protocol of this name, in upper or lower case, as a `protocol` field has it;
    /// [`Unspecified`](Self::Unspecified) for any other text.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let known = NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(Self::Unspecified, |(_, protocol)| *protocol)
    }

    /// The protocol of a port of Kubernetes: `appProtocol` if it is stated, else the name up to its
    /// first hyphen. Ports 25, 53, 3306 and 27017 are TCP where nothing is stated, and whatever has
    /// the `transport` UDP is UDP.
    #[must_use]
    pub fn of_kubernetes(
        number: u16,
        name: &str,
        transport: &str,
        app_protocol: Option<&str>,
    ) -> Self {
        if transport == "UDP" {
            return Self::Udp;
        }
        match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            _ => {}
        }
        let stated = app_protocol.unwrap_or(name);
        let grpc_web = stated.get(..GRPC_WEB.len());
        if grpc_web.is_some_and(|start| start.eq_ignore_ascii_case(GRPC_WEB)) {
            return Self::GrpcWeb;
        }
        let first = stated.split('-').next().unwrap_or_default();
        match Self::from_name(first) {
            Self::Unspecified if SERVER_FIRST.contains(&number) => Self::Tcp,
            protocol => protocol,
        }
    }

    /// Whether calls are routed by their heads.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Self::Grpc | Self::GrpcWeb | Self::Http | Self::Http2 | Self::HttpProxy
        )
    }

    /// Whether it is spoken over HTTP/2.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::Http2)
    }

    /// Whether connections are routed by SNI.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether it is a stream of bytes, TLS among them.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Https | Self::Mongo | Self::MySql | Self::Redis | Self::Tcp | Self::Tls
        )
    }
}

/// Ports whose servers speak first, so that nothing can be told from a client's bytes.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

const GRPC_WEB: &str = "grpc-web";

const NAMES: [(&str, Protocol); 12] = [
    ("grpc", Protocol::Grpc),
    (GRPC_WEB, Protocol::GrpcWeb),
    ("http", Protocol::Http),
    ("http2", Protocol::Http2),
    ("http_proxy", Protocol::HttpProxy),
    ("https", Protocol::Https),
    ("mongo", Protocol::Mongo),
    ("mysql", Protocol::MySql),
    ("redis", Protocol::Redis),
    ("tcp", Protocol::Tcp),
    ("tls", Protocol::Tls),
    ("udp", Protocol::Udp),
];

/// Where an endpoint or a workload runs: `REGION/ZONE/SUBZONE`, of which the end may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Locality {
    /// The region; empty: unknown.
    pub region: String,
    /// The zone in it; empty: unknown.
    pub zone: String,
    /// The part of the zone; empty: unknown.
    pub subzone: String,
}

impl Locality {
    /// Reads `REGION/ZONE/SUBZONE`. What is missing is empty, and what follows a third `/` belongs
    /// to the subzone.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            zone: next(),
            subzone: next(),
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() || !self.subzone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_kubernetes_speaks_what_its_app_protocol_or_its_name_says() {
        let table = [
            (80, "http", "TCP", None, Protocol::Http),
            (80, "HTTP2-web", "TCP", None, Protocol::Http2),
            (80, "grpc-web-x", "TCP", None, Protocol::GrpcWeb),
            (80, "grpc-api", "", None, Protocol::Grpc),
            (80, "https", "TCP", None, Protocol::Https),
            (80, "web", "TCP", None, Protocol::Unspecified),
            (80, "", "TCP", None, Protocol::Unspecified),
            (3306, "db", "TCP", None, Protocol::Tcp),
            (3306, "http-db", "TCP", None, Protocol::Http),
            (53, "http-dns", "UDP", None, Protocol::Udp),
            (80, "tcp-x", "TCP", Some("http"), Protocol::Http),
            (
                80,
                "http",
                "TCP",
                Some("kubernetes.io/h2c"),
                Protocol::Http2,
            ),
            (80, "http", "TCP", Some("kubernetes.io/ws"), Protocol::Http),
            (
                80,
                "http",
                "TCP",
                Some("kubernetes.io/wss"),
                Protocol::Https,
            ),
            (
                80,
                "http",
                "TCP",
                Some("example.com/own"),
                Protocol::Unspecified,
            ),
            (80, "http", "TCP", Some(""), Protocol::Unspecified),
        ];
        for (number, name, transport, app_protocol, protocol) in table {
            let found = Protocol::of_kubernetes(number, name, transport, app_protocol);
            assert_eq!(found, protocol, "{number} {name} {app_protocol:?}");
        }
    }

    #[test]
    fn a_locality_is_written_as_it_is_read() {
        for text in ["", "eu", "eu/a", "eu/a/1", "eu//1", "eu/a/1/2"] {
            assert_eq!(Locality::parse(text).to_string(), text);
        }
        assert!(Locality::parse("").is_empty());
        assert_eq!(Locality::parse("eu/a/1").subzone, "1");
    }
}
