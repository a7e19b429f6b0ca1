use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::activity::Activity;
use crate::identity::{PeerCertificate, SpiffeId, TrustDomain};

/// The other end of this connection: its addresses and what the TLS handshake proved. Cheap to
/// clone; one per connection.
///
/// The listeners of this crate make it. Where another TLS terminator accepts, or a test asks, it is
/// made by hand and put into requests by a
/// [`PeerLayer`](super::PeerLayer): [`plaintext`](Self::plaintext) for a caller without identity,
/// [`proven`](Self::proven) for a SPIFFE id that was verified, [`tls`](Self::tls) for all else that
/// a handshake settles.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    remote: SocketAddr,
    /// The address without its port as text, made when it is first asked for.
    remote_ip: OnceLock<Arc<str>>,
    local: SocketAddr,
    tls: Option<TlsFacts>,
    activity: Activity,
    /// See [`Peer::memo`].
    memo: AtomicU64,
}

/// What the TLS handshake settled.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The peer's verified certificate; `None` when it showed none. From a handshake of this
    /// crate's it holds the SPIFFE id and no other name: only for that one must the authority of
    /// the peer's own trust domain vouch.
    pub certificate: Option<PeerCertificate>,
    /// When the peer's certificate ends.
    pub not_after: Option<SystemTime>,
    /// The protocol version (`TLSv1.3`).
    pub version: Option<&'static str>,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: Option<&'static str>,
    /// The key exchange group, by its IANA name.
    pub key_exchange: Option<&'static str>,
    /// The server name the peer asked for, in lower case. Informational: never an identity.
    pub sni: Option<Box<str>>,
    /// The application protocol that was agreed on.
    pub alpn: Option<Box<[u8]>>,
}

impl Peer {
    /// A plaintext connection: no identity.
    #[must_use]
    pub fn plaintext(remote: SocketAddr, local: SocketAddr) -> Self {
        Self::new(remote, local, None)
    }

    /// A TLS connection.
    #[must_use]
    pub fn tls(remote: SocketAddr, local: SocketAddr, tls: TlsFacts) -> Self {
        Self::new(remote, local, Some(tls))
    }

    fn new(remote: SocketAddr, local: SocketAddr, tls: Option<TlsFacts>) -> Self {
        Self(Arc::new(Facts {
            remote,
            remote_ip: OnceLock::new(),
            local,
            tls,
            activity: Activity::default(),
            memo: AtomicU64::new(0),
        }))
    }

    /// A TLS connection whose caller has proven this SPIFFE id. The caller of this function vouches
    /// for it: policy takes the id for verified.
    #[must_use]
    pub fn proven(remote: SocketAddr, local: SocketAddr, spiffe_id: SpiffeId) -> Self {
        let certificate = Some(PeerCertificate::from_spiffe_id(spiffe_id));
        let facts = TlsFacts {
            certificate,
            ..TlsFacts::default()
        };
        Self::tls(remote, local, facts)
    }

    /// The peer's address.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    /// The peer's IP address as text, the same for all requests of the connection.
    #[must_use]
    pub fn remote_ip_text(&self) -> &Arc<str> {
        let text = || self.0.remote.ip().to_string().into();
        self.0.remote_ip.get_or_init(text)
    }

    /// Our address of the connection.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// What is under way on the connection.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// A number that the metrics of this process keep from one request of the connection to the
    /// next; 0 at first. It saves a lookup and is never needed: another value may be there later.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "only the metrics remember")
    )]
    pub(crate) fn memo(&self) -> &AtomicU64 {
        &self.0.memo
    }

    /// Whether the connection is the mesh's TLS. The application's own TLS counts as plaintext.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// What the TLS handshake settled; `None` on plaintext, and on the application's own TLS.
    #[must_use]
    pub fn tls_facts(&self) -> Option<&TlsFacts> {
        self.0.tls.as_ref()
    }

    /// The peer's verified certificate: what policy judges of it. See [`TlsFacts::certificate`].
    #[must_use]
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.0.tls.as_ref()?.certificate.as_ref()
    }

    /// The peer's proven SPIFFE id.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.certificate()?.spiffe_id.as_ref()
    }

    /// The peer's identity as Istio's policies write it (`cluster.local/ns/default/sa/web`).
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.spiffe_id().map(SpiffeId::principal)
    }

    /// The trust domain that the peer's id is of.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.spiffe_id().map(SpiffeId::trust_domain)
    }

    /// The peer's namespace, when its id has Istio's shape.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.spiffe_id()?.namespace()
    }

    /// The peer's service account, when its id has Istio's shape.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.spiffe_id()?.service_account()
    }
}
