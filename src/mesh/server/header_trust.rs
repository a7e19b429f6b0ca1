//! What callers may say in headers, settled before anything reads them.

use http::HeaderMap;
use http::request::Parts;

use crate::context::{Caller, Exchange, ForwardedPeer, Peer};
use crate::gate::forwarded_client_cert::{Element, ForwardedClientCertError};
use crate::gate::{Edge, ForwardClientCert, Refusal};
use crate::identity::SpiffeId;

/// Which headers of callers a listener believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mesh) struct HeaderTrust {
    pub(in crate::mesh) client_cert: ForwardClientCert,
    pub(in crate::mesh) edge: Option<Edge>,
}

impl HeaderTrust {
    /// Records, before the gate removes headers, whether the application sees
    /// `x-forwarded-client-cert`. By default policy judges it as a sidecar does, and the guards
    /// remove it.
    pub(super) fn announce(self, exchange: &Exchange) {
        if self.client_cert != ForwardClientCert::default() {
            exchange.set_keeps_client_cert();
        }
    }

    /// Removes what the caller may not say, and sets what we say of it. `by` is our own id.
    ///
    /// This comes behind the gate, which removes the headers of one hop, so that `connection`
    /// cannot take off what is set here (rule H-17). It comes before the span and the metrics of a
    /// request, which read some of these headers.
    ///
    /// # Errors
    /// When nothing can be appended to a `x-forwarded-client-cert`.
    pub(super) fn settle(
        self,
        by: &SpiffeId,
        head: &mut Parts,
        exchange: &Exchange,
    ) -> Result<(), Refusal> {
        if exchange.set_headers_settled() {
            // A layer of a mesh further out has done it, and guards have written headers since.
            return Ok(());
        }
        let peer = exchange.peer();
        // What no caller may say is gone by now.
        if let (Some(edge), Some(peer)) = (self.edge, peer)
            && exchange.caller().and_then(Caller::certificate).is_none()
        {
            let told = exchange.forwarded_peer().and_then(ForwardedPeer::address);
            let address = told.unwrap_or_else(|| peer.remote_addr()).ip();
            let client = edge.settle_from(address, peer.is_encrypted(), &mut head.headers);
            exchange.set_client_ip(client);
        }
        if !exchange.keeps_client_cert() {
            return Ok(());
        }
        self.settle_client_cert(by, &mut head.headers, peer)
            .map_err(|_| Refusal::ClientCertHeader)
    }

    fn settle_client_cert(
        self,
        by: &SpiffeId,
        headers: &mut HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<(), ForwardedClientCertError> {
        let own = peer.and_then(|peer| {
            peer.forwarded(by, || {
                let element = Element::of_caller(by.as_str(), peer)?;
                element.write().ok()
            })
        });
        self.client_cert.settle(headers, own.as_ref())
    }
}
