use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;

use super::cluster::{Cluster, Source};
use super::connection::dial::{Address, ExternalTls, Target};
use super::ports::{Ports, bare_host};
use crate::tls::{IdentityError, OneWayConnector, Settings};

/// How a host outside the mesh is reached: [`MeshBuilder::outside`](crate::mesh::MeshBuilder::outside).
///
/// Such a host has no identity of ours to prove, and we show it none. Nothing else makes the client leave the mesh: a host that is configured
/// nowhere is an error, and one of the mesh is never spoken to in any other way.
#[derive(Clone, Debug)]
pub struct ExternalHost {
    how: How,
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Plaintext,
    Tls(Option<Vec<u8>>),
}

impl ExternalHost {
    /// Ordinary TLS: the host proves its DNS name to the roots that the operating system trusts. Also for `http` URIs, as Istio's TLS
    /// origination does.
    #[must_use]
    pub fn tls() -> Self {
        Self::new(How::Tls(None))
    }

    /// Ordinary TLS that trusts these roots (PEM) and no others.
    #[must_use]
    pub fn tls_with_roots(pem: impl Into<Vec<u8>>) -> Self {
        Self::new(How::Tls(Some(pem.into())))
    }

    /// No protection at all. A URI that says anything but `http` is refused.
    #[must_use]
    pub fn plaintext() -> Self {
        Self::new(How::Plaintext)
    }

    fn new(how: How) -> Self {
        Self {
            how,
            addresses: Vec::new(),
        }
    }

    /// Connects to these addresses instead of asking DNS.
    #[must_use]
    pub fn at(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.addresses = addresses.into_iter().collect();
        self
    }

    pub(in crate::mesh) fn ready(
        self,
        settings: &Settings,
    ) -> Result<ExternalUpstream, IdentityError> {
        let tls = match &self.how {
            How::Plaintext => None,
            How::Tls(None) => Some(OneWayConnector::with_system_roots(settings)?),
            How::Tls(Some(pem)) => Some(OneWayConnector::with_roots(settings, pem)?),
        };
        Ok(ExternalUpstream {
            tls: tls.map(ExternalTls::new),
            how: self.how,
            addresses: self.addresses,
            ports: Ports::default(),
        })
    }
}

/// A host outside the mesh, ready to be called.
#[derive(Debug)]
pub(in crate::mesh) struct ExternalUpstream {
    how: How,
    tls: Option<ExternalTls>,
    /// DNS is asked when there are none.
    addresses: Vec<SocketAddr>,
    ports: Ports,
}

impl ExternalUpstream {
    /// The host as this URI calls it.
    pub(in crate::mesh) fn cluster(&self, uri: &Uri) -> Arc<Cluster> {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        self.ports.get(port, || {
            let host: Box<str> = bare_host(uri).to_ascii_lowercase().into();
            let sources = self.sources(&host, port);
            let tls = self.tls.clone();
            Cluster::new(Target::External { host, tls }, sources)
        })
    }

    fn sources(&self, host: &str, port: u16) -> Arc<[Source]> {
        if self.addresses.is_empty() {
            let host = host.into();
            return [Source::Fixed(Address::Dns { host, port })].into();
        }
        let fixed = |address: &SocketAddr| Source::Fixed(Address::Socket(*address));
        self.addresses.iter().map(fixed).collect()
    }

    /// Takes over the connections of the same host, where it is called in the same way.
    pub(in crate::mesh) fn take_over(&self, before: &Self) {
        // An address of DNS stays what it is; those given here replace each other.
        let is_same =
            self.how == before.how && self.addresses.is_empty() == before.addresses.is_empty();
        if is_same {
            self.ports
                .take_over(&before.ports, |cluster| match *self.addresses {
                    [] => Arc::clone(cluster),
                    _ => Arc::new(cluster.moved_to(self.sources("", 0))),
                });
        }
    }

    /// Whether a URI may be sent there: only what says `http` goes in plaintext, not `https` or `wss`.
    pub(in crate::mesh) fn may_carry(&self, uri: &Uri) -> bool {
        self.tls.is_some() || uri.scheme_str() == Some("http")
    }
}
