//! Finds the caller for whom a trusted proxy speaks.

#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::context::{Exchange, ForwardedPeer, Peer, ProxySocket, Via};
use crate::gate::forwarded_client_cert;
use crate::identity::SpiffeId;
use crate::live::Live;
use crate::message::LocalReply;
use crate::metrics::Registry;
use crate::tls::{Mode, Modes, TrustedSocket};

/// The proxies whose word about their callers counts, and how often it was refused.
#[derive(Debug)]
pub(in crate::mesh) struct TrustedProxies {
    proxies: Box<[Trusted]>,
    names: Arc<[Via]>,
    /// Our own id, which a sidecar of this workload shares.
    own: SpiffeId,
    modes: Live<Modes>,
    refused: [AtomicU64; Doubt::ALL.len()],
}

/// A proxy whose word about its callers counts.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct Trusted {
    pub(in crate::mesh) via: Via,
    /// The port that policies for one port are written for; 0 for a proxy that proves an identity,
    /// which connects to any.
    pub(in crate::mesh) port: u16,
    /// Whether its connections begin with a header of the PROXY protocol.
    pub(in crate::mesh) has_header: bool,
}

impl TrustedProxies {
    pub(in crate::mesh) fn new(proxies: Vec<Trusted>, own: SpiffeId, modes: Live<Modes>) -> Self {
        Self {
            names: proxies.iter().map(|proxy| proxy.via.clone()).collect(),
            proxies: proxies.into(),
            own,
            modes,
            refused: Default::default(),
        }
    }

    /// The proxies, in the order in which the builder got them.
    pub(in crate::mesh) fn names(&self) -> &Arc<[Via]> {
        &self.names
    }

    /// The proxy that connects to this port of a loopback address.
    pub(in crate::mesh) fn on_port(&self, port: u16) -> Option<TrustedSocket> {
        let proxy = self.find(|via| *via == Via::LoopbackPort(port))?;
        Some(proxy.socket())
    }

    /// The proxy that connects to this Unix socket, and the port that policies are written for.
    #[cfg(unix)]
    pub(in crate::mesh) fn on_unix(&self, path: &Path) -> Option<(TrustedSocket, u16)> {
        let proxy = self.find(|via| matches!(via, Via::UnixSocket(named) if **named == *path))?;
        Some((proxy.socket(), proxy.port))
    }

    fn find(&self, is_it: impl Fn(&Via) -> bool) -> Option<&Trusted> {
        self.proxies.iter().find(|proxy| is_it(&proxy.via))
    }

    /// Stores the caller of this request in the exchange, if a trusted proxy sends it (rule H-09).
    ///
    /// It must come before any step that changes the headers: a caller that could have
    /// `x-forwarded-client-cert` removed, by a `connection` header for example, would lose its
    /// identity, and a DENY of it would not hold.
    ///
    /// # Errors
    /// When the proxy's word cannot be believed. The exchange then has a caller without an
    /// identity, for the log.
    pub(super) fn introduce(
        &self,
        headers: &HeaderMap,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        if self.proxies.is_empty() || exchange.forwarded_peer().is_some() {
            return Ok(());
        }
        let Some(peer) = exchange.peer() else {
            return Ok(());
        };
        let caller = match (peer.proxy(), peer.spiffe_id()) {
            (Some(ProxySocket::Connection(caller)), _) => Ok(caller.clone()),
            (Some(ProxySocket::Requests(via)), _) => named_caller(&self.own, via, headers),
            (None, Some(id)) => {
                let is_it = |via: &Via| matches!(via, Via::Identity(trusted) if trusted == id);
                match self.find(is_it) {
                    Some(proxy) => named_caller(id, &proxy.via, headers),
                    None => return Ok(()),
                }
            }
            (None, None) => return Ok(()),
        };
        let caller = caller.and_then(|caller| match self.lacks_identity(peer, &caller) {
            true => Err((Doubt::NoIdentity, caller)),
            false => Ok(caller),
        });
        match caller {
            Ok(caller) => {
                exchange.set_forwarded_peer(caller);
                Ok(())
            }
            Err((doubt, caller)) => {
                exchange.set_forwarded_peer(caller);
                Err(self.refuse(doubt))
            }
        }
    }

    /// Stores the caller of a connection that carries no HTTP in its exchange, if a trusted proxy has
    /// named it in a PROXY header.
    ///
    /// # Errors
    /// When the proxy has named no caller that can be believed. The exchange then has a caller
    /// without an identity, for the log.
    pub(in crate::mesh) fn introduce_connection(
        &self,
        peer: &Peer,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let (caller, is_named) = match peer.proxy() {
            None => return Ok(()),
            Some(ProxySocket::Connection(caller)) => (caller.clone(), true),
            // It would name the caller in a header of each request.
            Some(ProxySocket::Requests(via)) => {
                (ForwardedPeer::new(None, None, via.clone()), false)
            }
        };
        let is_believed = is_named && !self.lacks_identity(peer, &caller);
        exchange.set_forwarded_peer(caller);
        match is_believed {
            true => Ok(()),
            false => Err(self.refuse(Doubt::NoIdentity)),
        }
    }

    /// Whether the caller that a proxy has named for a connection without HTTP can be believed by now:
    /// the mode of its port may have changed.
    pub(in crate::mesh) fn believes(&self, exchange: &Exchange) -> Result<(), LocalReply> {
        let (Some(peer), Some(caller)) = (exchange.peer(), exchange.forwarded_peer()) else {
            return Ok(());
        };
        match self.lacks_identity(peer, caller) {
            true => Err(self.refuse(Doubt::NoIdentity)),
            false => Ok(()),
        }
    }

    /// Whether the port takes mutual TLS alone, and neither the proxy's connection nor its word
    /// shows an identity.
    fn lacks_identity(&self, peer: &Peer, caller: &ForwardedPeer) -> bool {
        let has_identity = peer.is_tls() || caller.spiffe_id().is_some();
        !has_identity && self.modes.load().for_port(peer.local_addr().port()) == Mode::Strict
    }

    #[cold]
    fn refuse(&self, doubt: Doubt) -> LocalReply {
        if let Some(count) = self.refused.get(doubt as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        LocalReply::new(doubt.status(), "", doubt.details())
    }

    /// Registers the metrics: which proxies are trusted, and how often they were not believed.
    pub(in crate::mesh) fn register(self: &Arc<Self>, registry: &Registry) {
        for proxy in self.names.iter() {
            let name = proxy.to_string();
            registry.gauge_of(
                "mesh_trusted_proxy",
                "1 for each proxy whose word about its callers is believed.",
                &[("kind", proxy.kind()), ("proxy", &name)],
                || Some(1.0),
            );
        }
        if self.proxies.is_empty() {
            return;
        }
        for doubt in Doubt::ALL {
            let this = Arc::clone(self);
            registry.counter_of(
                "mesh_trusted_proxy_refused_total",
                "Requests of trusted proxies whose word about the caller was refused, by reason.",
                &[("reason", doubt.label())],
                move || {
                    let count = this.refused.get(doubt as usize)?;
                    Some(count.load(Ordering::Relaxed)).filter(|count| *count > 0)
                },
            );
        }
    }
}

impl Trusted {
    fn socket(&self) -> TrustedSocket {
        TrustedSocket {
            via: self.via.clone(),
            has_header: self.has_header,
        }
    }
}

/// The caller of a request that a proxy with this id sends, or why its word is refused, with a
/// caller without an identity.
fn named_caller(
    proxy: &SpiffeId,
    via: &Via,
    headers: &HeaderMap,
) -> Result<ForwardedPeer, (Doubt, ForwardedPeer)> {
    let caller = |id| ForwardedPeer::new(id, None, via.clone());
    match caller_of(proxy, headers) {
        Ok(id) => Ok(caller(id)),
        Err(doubt) => Err((doubt, caller(None))),
    }
}

/// The caller that a proxy with this id names in the last element of `x-forwarded-client-cert`;
/// `None` for a caller without an identity.
fn caller_of(proxy: &SpiffeId, headers: &HeaderMap) -> Result<Option<SpiffeId>, Doubt> {
    let lines = headers.get_all(NAME).iter().map(HeaderValue::as_bytes);
    let elements = forwarded_client_cert::read(lines).map_err(|_| Doubt::Unreadable)?;
    let Some((last, earlier)) = elements.split_last() else {
        return Ok(None);
    };
    let is_by_proxy = |by: &Vec<String>| by.iter().any(|by| by == proxy.as_str());
    if !is_by_proxy(&last.by) {
        return Err(Doubt::OtherProxy);
    }
    // Envoy does not quote a name of a certificate, so a name with `,` splits the element in two,
    // and the caller has written the second. The first still holds the proxy's `By` (rule H-07).
    if earlier.iter().any(|element| is_by_proxy(&element.by)) {
        return Err(Doubt::Split);
    }
    match last.uris.as_slice() {
        [] => Ok(None),
        [id] => SpiffeId::new(id).map(Some).map_err(|_| Doubt::NotOneId),
        _ => Err(Doubt::NotOneId),
    }
}

/// Why a proxy's word about its caller is refused.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    /// The header cannot be read.
    Unreadable,
    /// The last element is not one that the proxy wrote, as its `By` does not name the proxy.
    OtherProxy,
    /// Several elements name the proxy, so a name in the caller's certificate may have forged one.
    Split,
    /// The caller's certificate has several URIs, or one that is no SPIFFE id.
    NotOneId,
    /// The caller has no identity, the port is STRICT, and the proxy connects in plaintext.
    NoIdentity,
}

impl Doubt {
    const ALL: [Self; 5] = [
        Self::Unreadable,
        Self::OtherProxy,
        Self::Split,
        Self::NotOneId,
        Self::NoIdentity,
    ];

    /// The reason as the value of a metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::OtherProxy => "other_proxy",
            Self::Split => "split",
            Self::NotOneId => "not_one_id",
            Self::NoIdentity => "no_identity",
        }
    }

    /// The response code details.
    fn details(self) -> &'static str {
        match self {
            Self::Unreadable => "trusted_proxy_unreadable",
            Self::OtherProxy => "trusted_proxy_other_proxy",
            Self::Split => "trusted_proxy_split",
            Self::NotOneId => "trusted_proxy_not_one_id",
            Self::NoIdentity => "trusted_proxy_no_identity",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoIdentity => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
