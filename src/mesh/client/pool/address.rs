use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rustls_pki_types::ServerName;

use crate::identity::{SpiffeId, SpiffeIdError};

/// Where a workload of an upstream listens: [`MeshBuilder::upstream`](crate::mesh::MeshBuilder::upstream).
///
/// Made of a [`SocketAddr`], or of a text: `10.0.0.7:8443`, `[2001:db8::7]:8443`, or a DNS name
/// with its port, `charts.internal:8443`. A text that is neither is a mistake that
/// [`MeshBuilder::build`](crate::mesh::MeshBuilder::build) returns.
///
/// A DNS name means all the addresses that DNS knows for it, the first 256 in their order.
/// The [`Driver`](crate::mesh::Driver) asks every 30 seconds or so, sooner after a failure, and keeps the
/// last good answer while DNS fails. Calls take the addresses in turn. An address that DNS no longer
/// gives gets no new call, and what is under way on its connections goes on. TLS expects the
/// identities of the upstream at each address: a wrong answer of DNS leads to no one else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress(Written);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    Socket(SocketAddr),
    Text(Box<str>),
}

/// An address as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Place {
    Socket(SocketAddr),
    /// Without case.
    Name {
        host: Box<str>,
        port: u16,
    },
}

impl UpstreamAddress {
    /// What it says, or what is wrong with it and how to write it.
    pub(in crate::mesh) fn place(&self) -> Result<Place, String> {
        let text = match &self.0 {
            Written::Socket(address) if address.port() != 0 => return Ok(Place::Socket(*address)),
            Written::Socket(address) => return Err(bad_port(address)),
            Written::Text(text) => text,
        };
        if let Ok(address) = text.parse::<SocketAddr>()
            && address.port() != 0
        {
            return Ok(Place::Socket(address));
        }
        if text.contains('@') {
            // A user, and perhaps a password.
            return Err("an address names a user: write host:port alone".into());
        }
        if let Some((_, rest)) = text.split_once("://") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (rest, _) = rest.split_at_checked(end).unwrap_or_default();
            let text = text.split('?').next().unwrap_or_default();
            return Err(format!(
                "address {text:?} is a URI: write host:port alone, {rest:?}"
            ));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let written = SocketAddr::new(address, 8443);
            return Err(format!(
                "address {text:?} has no port: write it, {written} say"
            ));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!(
                "address {text:?} has no port: write it, \"{text}:8443\" say"
            ));
        };
        let is_name = is_server_name(host) && host.parse::<IpAddr>().is_err();
        let port = port.parse().ok().filter(|port| *port != 0);
        match port {
            Some(port) if is_name => Ok(Place::Name {
                host: host.to_ascii_lowercase().into(),
                port,
            }),
            Some(_) => Err(format!(
                "address {text:?} has no host that DNS could know: write ip:port or name:port"
            )),
            None => Err(bad_port(text)),
        }
    }
}

/// Whether it is a DNS name or an address.
pub(in crate::mesh) fn is_server_name(host: &str) -> bool {
    ServerName::try_from(host).is_ok()
}

fn bad_port(address: impl fmt::Display) -> String {
    format!("address \"{address}\" has no port from 1 to 65535: write ip:port or name:port")
}

impl From<SocketAddr> for UpstreamAddress {
    fn from(address: SocketAddr) -> Self {
        Self(Written::Socket(address))
    }
}

impl From<&str> for UpstreamAddress {
    fn from(text: &str) -> Self {
        Self(Written::Text(text.into()))
    }
}

impl From<String> for UpstreamAddress {
    fn from(text: String) -> Self {
        Self(Written::Text(text.into()))
    }
}

impl From<&String> for UpstreamAddress {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Written::Socket(address) => address.fmt(f),
            Written::Text(text) => text.fmt(f),
        }
    }
}

/// Who may answer at an upstream: [`MeshBuilder::upstream`](crate::mesh::MeshBuilder::upstream).
///
/// Made of a [`SpiffeId`], or of its text: `spiffe://cluster.local/ns/default/sa/charts`. A text
/// that is no SPIFFE id of a workload is a mistake that
/// [`MeshBuilder::build`](crate::mesh::MeshBuilder::build) returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamId(Result<SpiffeId, (Box<str>, SpiffeIdError)>);

impl UpstreamId {
    fn parse(text: &str) -> Self {
        Self(SpiffeId::new(text).map_err(|error| (text.into(), error)))
    }

    /// The id, or what is wrong with it and how to write it.
    pub(in crate::mesh) fn id(self) -> Result<SpiffeId, String> {
        self.0.map_err(|(text, error)| {
            format!(
                "identity {text:?}: {error}; write spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
            )
        })
    }
}

impl From<SpiffeId> for UpstreamId {
    fn from(id: SpiffeId) -> Self {
        Self(Ok(id))
    }
}

impl From<&SpiffeId> for UpstreamId {
    fn from(id: &SpiffeId) -> Self {
        Self(Ok(id.clone()))
    }
}

impl From<&str> for UpstreamId {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl From<String> for UpstreamId {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<&String> for UpstreamId {
    fn from(text: &String) -> Self {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_name_with_its_port() {
        for text in ["127.0.0.1:8443", "[::1]:8443"] {
            let place = UpstreamAddress::from(text).place();
            assert_eq!(place, Ok(Place::Socket(text.parse().unwrap())));
        }
        let place = UpstreamAddress::from("Charts.internal:8443").place();
        let (host, port) = ("charts.internal".into(), 8443);
        assert_eq!(place, Ok(Place::Name { host, port }));
    }

    #[test]
    fn nobody_listens_on_port_0() {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mistake = UpstreamAddress::from(address).place().unwrap_err();
        assert!(mistake.contains("1 to 65535"), "{mistake}");
    }

    #[test]
    fn a_mistake_is_named_with_its_remedy() {
        for (text, remedy) in [
            ("charts.internal", "\"charts.internal:8443\""),
            ("10.0.0.7", "10.0.0.7:8443"),
            ("2001:db8::7", "[2001:db8::7]:8443"),
            ("http://charts.internal:8443", "\"charts.internal:8443\""),
            (
                "https://charts.internal:8443/x?token=secret",
                "\"charts.internal:8443\"",
            ),
            ("http://ada:secret@charts.internal:8443", "host:port alone"),
            ("ada:secret@charts.internal:8443", "host:port alone"),
            ("charts.internal:0", "1 to 65535"),
            ("127.0.0.1:0", "1 to 65535"),
            ("[::1]:0", "1 to 65535"),
            ("charts.internal:http", "1 to 65535"),
            ("a b:1", "name:port"),
            (":1", "name:port"),
            ("", "has no port"),
        ] {
            let mistake = UpstreamAddress::from(text).place().unwrap_err();
            assert!(mistake.contains(remedy), "{text}: {mistake}");
            assert!(!mistake.contains("secret"), "{mistake}");
        }
    }
}
