//! The caller of a request, on the word of a trusted proxy.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::identity::{PeerCertificate, SpiffeId};

/// The caller of a request, on the word of a trusted proxy: who connected to the proxy.
///
/// A mesh sets it only with
/// [`trusted_proxy`](crate::mesh::DangerousMeshBuilder::trusted_proxy), and only for requests of
/// the proxies that are named there. Rules about the source of a request then judge this caller.
/// The [`Peer`](super::Peer) of such a request stays the proxy, because the handshake has proven
/// nothing else.
///
/// A caller without an identity is `none`: the proxy has accepted it without a certificate, or one
/// without a SPIFFE id. The proxy's own identity never takes its place.
///
/// It prints `a via b`: the caller, and the proxy that speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedPeer(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    certificate: Option<PeerCertificate>,
    address: Option<SocketAddr>,
    via: Via,
}

/// The trusted proxy that speaks for a caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// A proxy that has proven this id by mutual TLS. Prints as policies write it:
    /// `cluster.local/ns/istio-system/sa/gateway`.
    Identity(SpiffeId),
    /// The proxy that connects to this Unix socket. Prints `unix:/run/patients.sock`.
    UnixSocket(Arc<Path>),
    /// The proxy that connects to this port of a loopback address. Prints `loopback:8080`.
    LoopbackPort(u16),
}

/// How the trusted proxy behind a socket of this host names its callers.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh believes a proxy")
)]
pub(crate) enum ProxySocket {
    /// Each request names its caller, in `x-forwarded-client-cert`.
    Requests(Via),
    /// All requests of the connection come from one caller, whom the PROXY header has named.
    Connection(ForwardedPeer),
}

impl ForwardedPeer {
    #[cfg_attr(
        not(feature = "tls"),
        allow(dead_code, reason = "only an acceptor and the mesh believe a proxy")
    )]
    pub(crate) fn new(id: Option<SpiffeId>, address: Option<SocketAddr>, via: Via) -> Self {
        Self(Arc::new(Facts {
            certificate: id.map(PeerCertificate::from_spiffe_id),
            address,
            via,
        }))
    }

    /// The caller's SPIFFE id; `None` for a caller without an identity.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.certificate()?.spiffe_id.as_ref()
    }

    /// The caller's identity as Istio's policies write it (`cluster.local/ns/default/sa/web`).
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.spiffe_id().map(SpiffeId::principal)
    }

    /// The caller's address, if the proxy has told it.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// The proxy that speaks for the caller.
    #[must_use]
    pub fn via(&self) -> &Via {
        &self.0.via
    }

    /// The caller's identity in the form that policy judges.
    pub(crate) fn certificate(&self) -> Option<&PeerCertificate> {
        self.0.certificate.as_ref()
    }
}

impl fmt::Display for ForwardedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caller = self.principal().unwrap_or("none");
        write!(f, "{caller} via {}", self.via())
    }
}

impl Via {
    /// The kind of proxy, as the value of a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Identity(_) => "identity",
            Self::UnixSocket(_) => "unix_socket",
            Self::LoopbackPort(_) => "loopback_port",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => f.write_str(id.principal()),
            Self::UnixSocket(path) => write!(f, "unix:{}", path.display()),
            Self::LoopbackPort(port) => write!(f, "loopback:{port}"),
        }
    }
}
