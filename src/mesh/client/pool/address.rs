//! Addresses and identities of upstreams, as the builder takes them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rustls_pki_types::ServerName;

use crate::identity::{SpiffeId, SpiffeIdError};

/// Where a workload of an upstream listens: see
/// [`MeshBuilder::upstream`](crate::mesh::MeshBuilder::upstream).
///
/// It is made from a [`SocketAddr`] or from a text: `10.0.0.7:8443`, `[2001:db8::7]:8443`, or a DNS
/// name with its port, `charts.internal:8443`.
/// [`MeshBuilder::build`](crate::mesh::MeshBuilder::build) returns an error for any other text.
///
/// A DNS name stands for all addresses that DNS returns for it, up to the first 256 in sorted
/// order. The [`Driver`](crate::mesh::Driver) asks DNS about every 30 seconds, sooner after a
/// failure, and keeps the last good answer while DNS fails. Calls use the addresses in turn. When
/// DNS stops returning an address, that address gets no new calls; calls on its open connections
/// continue. TLS demands the upstream's identities at every address, so a wrong DNS answer cannot
/// redirect a call to another workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress(Written);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    Socket(SocketAddr),
    Text(Box<str>),
}

/// An address after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Place {
    Socket(SocketAddr),
    /// In lower case.
    Name {
        host: Box<str>,
        port: u16,
    },
}

impl UpstreamAddress {
    /// Parses the address.
    ///
    /// # Errors
    /// What is wrong with the text, and how to write it.
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
            // The text before `@` may hold a password, so the error does not repeat it.
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

/// A host as an error may show it: without a user and password.
pub(in crate::mesh) fn without_user(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or_default()
}

/// Whether the text is a DNS name or an IP address.
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

/// The identity that may answer at an upstream: see
/// [`MeshBuilder::upstream`](crate::mesh::MeshBuilder::upstream).
///
/// It is made from a [`SpiffeId`] or from its text: `spiffe://cluster.local/ns/default/sa/charts`.
/// [`MeshBuilder::build`](crate::mesh::MeshBuilder::build) returns an error for a text that is not
/// the SPIFFE id of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamId(Result<SpiffeId, (Box<str>, SpiffeIdError)>);

impl UpstreamId {
    fn parse(text: &str) -> Self {
        Self(SpiffeId::new(text).map_err(|error| (text.into(), error)))
    }

    /// Parses the id.
    ///
    /// # Errors
    /// What is wrong with the text, and how to write it.
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

    #[test]
    fn a_host_is_shown_without_its_user() {
        assert_eq!(without_user("http://ada:secret@charts"), "charts");
        assert_eq!(without_user("charts.default:8443"), "charts.default:8443");
    }
}
