//! Finds the caller for whom a trusted proxy speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::context::{Exchange, ForwardedPeer, Via};
use crate::gate::forwarded_client_cert;
use crate::identity::SpiffeId;
use crate::message::LocalReply;
use crate::metrics::Registry;

/// The proxies whose word about their callers counts, and how often it was refused.
#[derive(Debug)]
pub(in crate::mesh) struct TrustedProxies {
    proxies: Arc<[Via]>,
    refused: [AtomicU64; Doubt::ALL.len()],
}

impl TrustedProxies {
    pub(in crate::mesh) fn new(proxies: Vec<Via>) -> Self {
        Self {
            proxies: proxies.into(),
            refused: Default::default(),
        }
    }

    /// The proxies, in the order in which the builder got them.
    pub(in crate::mesh) fn names(&self) -> &Arc<[Via]> {
        &self.proxies
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
        let id = exchange.peer().and_then(|peer| peer.spiffe_id());
        let Some((id, via)) = id.and_then(|id| Some((id, self.by_identity(id)?))) else {
            return Ok(());
        };
        let caller = caller_of(id, headers);
        let told = caller.as_ref().ok().cloned().flatten();
        exchange.set_forwarded_peer(ForwardedPeer::new(told, None, via.clone()));
        caller.map(drop).map_err(|doubt| self.refuse(doubt))
    }

    fn by_identity(&self, id: &SpiffeId) -> Option<&Via> {
        let is_it = |proxy: &&Via| matches!(proxy, Via::Identity(trusted) if trusted == id);
        self.proxies.iter().find(is_it)
    }

    #[cold]
    fn refuse(&self, doubt: Doubt) -> LocalReply {
        if let Some(count) = self.refused.get(doubt as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        LocalReply::new(StatusCode::BAD_REQUEST, "", doubt.details())
    }

    /// Registers the metrics: which proxies are trusted, and how often they were not believed.
    pub(in crate::mesh) fn register(self: &Arc<Self>, registry: &Registry) {
        for proxy in self.proxies.iter() {
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
}

impl Doubt {
    const ALL: [Self; 4] = [
        Self::Unreadable,
        Self::OtherProxy,
        Self::Split,
        Self::NotOneId,
    ];

    /// The reason as the value of a metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::OtherProxy => "other_proxy",
            Self::Split => "split",
            Self::NotOneId => "not_one_id",
        }
    }

    /// The response code details.
    fn details(self) -> &'static str {
        match self {
            Self::Unreadable => "trusted_proxy_unreadable",
            Self::OtherProxy => "trusted_proxy_other_proxy",
            Self::Split => "trusted_proxy_split",
            Self::NotOneId => "trusted_proxy_not_one_id",
        }
    }
}

const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
