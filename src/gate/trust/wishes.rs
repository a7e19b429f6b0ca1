//! What a peer of the mesh may ask of us in Envoy's headers, read before the gate removes them.

use http::{HeaderMap, HeaderName};

use crate::context::{Exchange, Peer};

/// Notes in the exchange what its peer asks for. Only a peer with a proven identity is heard: what a
/// trusted proxy says of its caller is no proof.
pub(in crate::gate) fn note(headers: &HeaderMap, exchange: &Exchange) {
    if exchange.peer().and_then(Peer::spiffe_id).is_none() {
        return;
    }
    if headers.contains_key(FORCE_TRACE) {
        exchange.set_forces_trace();
    }
}

const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");
