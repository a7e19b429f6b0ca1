use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;

use crate::tls::{IdentityError, OneWayConnector, Protocol, Settings};

/// How a host outside the mesh is reached: [`MeshBuilder::outside`](crate::mesh::MeshBuilder::outside).
///
/// Such a host has no identity of ours to prove, and we show it none. Nothing else makes the client leave the mesh: a host that is configured
/// nowhere is an error, and one of the mesh is never spoken to in any other way.
#[derive(Clone, Debug)]
pub struct Outside {
    how: How,
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
enum How {
    Plaintext,
    Tls(Option<Vec<u8>>),
}

impl Outside {
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
    ) -> Result<OutsideUpstream, IdentityError> {
        let tls = match self.how {
            How::Plaintext => None,
            How::Tls(None) => Some(OneWayConnector::with_system_roots(settings)?),
            How::Tls(Some(pem)) => Some(OneWayConnector::with_roots(settings, &pem)?),
        };
        Ok(OutsideUpstream {
            tls: tls.map(|tls| {
                let http2 = tls.clone().protocol(Protocol::Http2);
                Arc::new((tls.protocol(Protocol::Http1), http2))
            }),
            addresses: self.addresses.into(),
        })
    }
}

/// A host outside the mesh, ready to be called.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct OutsideUpstream {
    /// For HTTP/1.1 and HTTP/2; none in plaintext.
    tls: Option<Arc<(OneWayConnector, OneWayConnector)>>,
    /// DNS is asked when there are none.
    pub(in crate::mesh) addresses: Arc<[SocketAddr]>,
}

impl OutsideUpstream {
    /// What makes its TLS; none in plaintext.
    pub(in crate::mesh) fn connector(&self, protocol: Protocol) -> Option<&OneWayConnector> {
        let (http1, http2) = self.tls.as_deref()?;
        Some(match protocol {
            Protocol::Http2 => http2,
            Protocol::Either | Protocol::Http1 => http1,
        })
    }

    pub(in crate::mesh) fn port(&self, uri: &Uri) -> u16 {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        uri.port_u16().unwrap_or(usual)
    }

    /// Whether a URI may be sent there: only what says `http` goes in plaintext, not `https` or `wss`.
    pub(in crate::mesh) fn may_carry(&self, uri: &Uri) -> bool {
        self.tls.is_some() || uri.scheme_str() == Some("http")
    }
}
