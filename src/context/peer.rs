//! The other end of a connection, and what the TLS handshake proved about it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

#[cfg(all(feature = "server", feature = "client"))]
use http::HeaderValue;

use super::activity::Activity;
#[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
use super::activity::Ending;
use super::forwarded_peer::ProxySocket;
use crate::identity::{PeerCertificate, SpiffeId, TrustDomain};

/// The other end of this connection: its addresses and what the TLS handshake proved. There is one
/// per connection, and clones are cheap.
///
/// The listeners of this crate make it. For another TLS terminator, or in a test, make it yourself
/// and put it into requests with a [`PeerLayer`](super::PeerLayer): [`plaintext`](Self::plaintext)
/// for a caller without identity, [`proven`](Self::proven) for a verified SPIFFE id, and
/// [`tls`](Self::tls) to set every fact of a handshake.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    number: u64,
    remote: SocketAddr,
    /// The IP address as text, made at the first use.
    remote_ip: OnceLock<Arc<str>>,
    local: SocketAddr,
    tls: Option<TlsFacts>,
    /// Set on the sockets of a trusted proxy.
    proxy: Option<ProxySocket>,
    has_other_tls: bool,
    /// See [`Peer::forwarded`].
    #[cfg(all(feature = "server", feature = "client"))]
    forwarded: OnceLock<Box<Forwarded>>,
    activity: Activity,
    /// See [`Peer::memo`].
    memo: AtomicU64,
}

/// The text by which one server tells its application of this peer.
#[cfg(all(feature = "server", feature = "client"))]
#[derive(Debug)]
struct Forwarded {
    by: SpiffeId,
    element: Option<HeaderValue>,
}

/// The facts of a TLS handshake.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The peer's verified certificate; `None` if the peer presented none. After a handshake of
    /// this crate it holds only the SPIFFE id, because the authority of the peer's trust domain
    /// vouches only for that name.
    pub certificate: Option<PeerCertificate>,
    /// SHA-256 of the peer's certificate (DER).
    pub certificate_sha256: Option<[u8; 32]>,
    /// When the peer's certificate expires.
    pub not_after: Option<SystemTime>,
    /// The protocol version (`TLSv1.3`).
    pub version: Option<&'static str>,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: Option<&'static str>,
    /// The key exchange group, by its IANA name.
    pub key_exchange: Option<&'static str>,
    /// The server name that the peer asked for, in lower case. It is informational and never an
    /// identity.
    pub sni: Option<Box<str>>,
    /// The application protocol that was negotiated.
    pub alpn: Option<Box<[u8]>>,
}

impl Facts {
    /// Those of a plaintext connection.
    fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            remote,
            remote_ip: OnceLock::new(),
            local,
            tls: None,
            proxy: None,
            has_other_tls: false,
            #[cfg(all(feature = "server", feature = "client"))]
            forwarded: OnceLock::new(),
            activity: Activity::default(),
            memo: AtomicU64::new(0),
        }
    }
}

impl Peer {
    /// A plaintext connection, without an identity.
    #[must_use]
    pub fn plaintext(remote: SocketAddr, local: SocketAddr) -> Self {
        Self(Arc::new(Facts::new(remote, local)))
    }

    /// A connection over TLS that is not the mesh's, such as the application's own. It is
    /// encrypted, and has no identity: for policy it counts as plaintext.
    #[must_use]
    pub fn other_tls(remote: SocketAddr, local: SocketAddr) -> Self {
        Self(Arc::new(Facts {
            has_other_tls: true,
            ..Facts::new(remote, local)
        }))
    }

    /// A TLS connection.
    #[must_use]
    pub fn tls(remote: SocketAddr, local: SocketAddr, tls: TlsFacts) -> Self {
        Self(Arc::new(Facts {
            tls: Some(tls),
            ..Facts::new(remote, local)
        }))
    }

    /// A plaintext connection of a trusted proxy. It has no identity, as it has proven none.
    #[cfg(feature = "tls")]
    pub(crate) fn of_proxy(remote: SocketAddr, local: SocketAddr, proxy: ProxySocket) -> Self {
        Self(Arc::new(Facts {
            proxy: Some(proxy),
            ..Facts::new(remote, local)
        }))
    }

    /// A TLS connection whose caller has proven this SPIFFE id. The code that calls this function
    /// vouches for the id: policy treats it as verified.
    #[must_use]
    pub fn proven(remote: SocketAddr, local: SocketAddr, spiffe_id: SpiffeId) -> Self {
        let certificate = Some(PeerCertificate::from_spiffe_id(spiffe_id));
        let facts = TlsFacts {
            certificate,
            ..TlsFacts::default()
        };
        Self::tls(remote, local, facts)
    }

    /// The number of this connection, which no other connection of the process has. It is not
    /// zero.
    #[cfg_attr(
        not(feature = "rate-limit"),
        allow(dead_code, reason = "for limits of one connection")
    )]
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    /// The peer's address.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    /// The peer's IP address as text. All requests of the connection share it.
    #[must_use]
    pub fn remote_ip_text(&self) -> &Arc<str> {
        let text = || self.0.remote.ip().to_string().into();
        self.0.remote_ip.get_or_init(text)
    }

    /// Our own address on the connection.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// The requests in progress on the connection.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// A number that the metrics keep from one request of the connection to the next; 0 at first.
    /// It only saves a lookup, because another value may have replaced it.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "only the metrics remember")
    )]
    pub(crate) fn memo(&self) -> &AtomicU64 {
        &self.0.memo
    }

    /// How the trusted proxy on this connection names its callers, if it is one.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only the mesh believes a proxy")
    )]
    pub(crate) fn proxy(&self) -> Option<&ProxySocket> {
        self.0.proxy.as_ref()
    }

    /// Calls this when the last handle of this peer is dropped, which is when its connection is
    /// closed, with why it was. Without a place for it, it is called now.
    #[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
    pub(crate) fn at_close(&self, call: impl FnOnce(Ending) + Send + Sync + 'static) {
        self.0.activity.at_close(Box::new(call));
    }

    /// Whether the connection is the mesh's TLS. The application's own TLS counts as plaintext.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// Whether the connection is encrypted: by the mesh's TLS or by [another](Self::other_tls).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_tls() || self.0.has_other_tls
    }

    /// The text by which the server `by` tells the application of this peer. It is made for the
    /// first server that asks, and kept for all requests of the connection.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn forwarded(
        &self,
        by: &SpiffeId,
        make: impl Fn() -> Option<HeaderValue>,
    ) -> Option<HeaderValue> {
        let first = || {
            Box::new(Forwarded {
                by: by.clone(),
                element: make(),
            })
        };
        let kept = self.0.forwarded.get_or_init(first);
        match kept.by == *by {
            true => kept.element.clone(),
            false => make(),
        }
    }

    /// The facts of the TLS handshake; `None` on plaintext, and on the application's own TLS.
    #[must_use]
    pub fn tls_facts(&self) -> Option<&TlsFacts> {
        self.0.tls.as_ref()
    }

    /// The peer's verified certificate, which policy judges. See [`TlsFacts::certificate`].
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

    /// The trust domain of the peer's id.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.spiffe_id().map(SpiffeId::trust_domain)
    }

    /// The peer's namespace, if its id has Istio's shape.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.spiffe_id()?.namespace()
    }

    /// The peer's service account, if its id has Istio's shape.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.spiffe_id()?.service_account()
    }
}
