//! Hosts outside the mesh, as configured and as compiled.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;

use super::cluster::{Cluster, Source};
use super::connection::dial::{Address, ExternalTls, Target};
use super::ports::{Ports, bare_host};
use crate::propagation::Destination;
use crate::tls::{IdentityError, OneWayConnector, Settings};

/// How the client reaches a host outside the mesh: see
/// [`MeshBuilder::outside`](crate::mesh::MeshBuilder::outside).
///
/// Such a host proves no mesh identity, and the client presents none to it. This is the only way
/// out of the mesh: calls to a host that is not configured fail, and a host of the mesh is never
/// called in this way.
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
    /// Ordinary TLS: the host proves its DNS name to the roots that the operating system trusts.
    /// `http` URIs also use TLS, as with Istio's TLS origination.
    ///
    /// The roots are read when the mesh is built and at each
    /// [`replace_upstreams`](crate::Mesh::replace_upstreams), for the connections that are made
    /// from then on. A connection that is open stays, also if the system no longer trusts its root.
    #[must_use]
    pub fn tls() -> Self {
        Self::new(How::Tls(None))
    }

    /// Ordinary TLS that trusts only these roots (PEM).
    #[must_use]
    pub fn tls_with_roots(pem: impl Into<Vec<u8>>) -> Self {
        Self::new(How::Tls(Some(pem.into())))
    }

    /// No TLS. Calls must use an `http` URI; others are refused.
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

/// A host outside the mesh, ready for calls.
#[derive(Debug)]
pub(in crate::mesh) struct ExternalUpstream {
    how: How,
    tls: Option<ExternalTls>,
    /// If this is empty, DNS is asked.
    addresses: Vec<SocketAddr>,
    ports: Ports,
}

impl ExternalUpstream {
    /// The cluster for the port of this URI.
    pub(in crate::mesh) fn cluster(&self, uri: &Uri) -> Arc<Cluster> {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        self.ports.get(port, || {
            let host: Box<str> = bare_host(uri).to_ascii_lowercase().into();
            let sources = self.sources(&host, port);
            let tls = self.tls.clone();
            let target = Target::External { host, tls };
            Cluster::new(target, Destination::outside(), sources)
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

    /// Takes over the connections of the same host if it is reached in the same way.
    pub(in crate::mesh) fn take_over(&self, before: &Self) {
        let is_same =
            self.how == before.how && self.addresses.is_empty() == before.addresses.is_empty();
        if is_same {
            self.ports.take_over(&before.ports, |cluster| {
                // DNS addresses stay as they are; fixed addresses replace each other.
                let moved = !self.addresses.is_empty();
                let sources = moved.then(|| self.sources("", 0));
                // The operating system may trust other roots by now.
                Arc::new(cluster.verified_by(self.tls.clone(), sources))
            });
        }
    }

    /// Whether a call with this URI may go there: plaintext takes only `http`, not `https` or
    /// `wss`.
    pub(in crate::mesh) fn may_carry(&self, uri: &Uri) -> bool {
        self.tls.is_some() || uri.scheme_str() == Some("http")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::ServerConfig;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::super::connection::dial::Dialer;
    use super::*;
    use crate::testing::{Leaf, Pki};
    use crate::tls::{Connector, Protocol};

    /// A TLS server for `localhost`.
    async fn served(pki: &Pki) -> SocketAddr {
        let issued = pki.issue(&Leaf::without_uri().dns("localhost")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(issued.chain().to_vec(), issued.key());
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                let _ = acceptor.accept(tcp).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn new_connections_trust_what_the_system_trusts_by_now() {
        let (before, after) = (Pki::new("before").unwrap(), Pki::new("after").unwrap());
        let address = served(&after).await;
        // As if the system's roots had changed between the two.
        let upstream = |roots: &Pki| {
            let pem = roots.root_pem();
            let tls = OneWayConnector::with_roots(&Settings::default(), pem.as_bytes());
            ExternalUpstream {
                how: How::Tls(None),
                tls: Some(ExternalTls::new(tls.unwrap())),
                addresses: vec![address],
                ports: Ports::default(),
            }
        };
        let (before, after) = (upstream(&before), upstream(&after));
        let dialer = Dialer::new(Connector::plaintext(), None, Duration::from_secs(10));
        let dialer = Arc::new(dialer);
        let uri = Uri::from_static("https://localhost/");
        let dial = async |upstream: &ExternalUpstream| {
            let candidate = upstream.cluster(&uri).endpoint_order().next(None).unwrap();
            candidate
                .endpoint
                .dial(&dialer, Protocol::Http1)
                .await
                .is_ok()
        };
        assert!(!dial(&before).await);
        after.take_over(&before);
        assert!(dial(&after).await);
    }
}
