//! What a record says of the request that it is about.

use http::HeaderValue;

use crate::audit::record::{Actor, Event, Tls};
use crate::audit::scalar::hex_of;
use crate::context::{Claims, Exchange, ForwardedPeer, Peer, TraceContext};
use crate::identity::SpiffeId;

/// Adds who asks, from where and over which connection, and what joins the record with others.
pub(crate) fn with_request(mut event: Event, exchange: &Exchange) -> Event {
    event = event.actor(actor(exchange));
    if let Some(trace) = exchange.trace() {
        event = event.trace(trace.trace_id.to_string());
    }
    if let Some(id) = request_id(exchange.trace()) {
        event = event.request_id(id);
    }
    if let Some(peer) = exchange.peer() {
        let told = exchange.forwarded_peer().and_then(ForwardedPeer::address);
        let address = told.unwrap_or_else(|| peer.remote_addr()).ip();
        event = event.source_ip(exchange.client_ip().copied().unwrap_or(address));
        if let Some(tls) = tls(peer) {
            event = event.tls(tls);
        }
    }
    event
}

/// The caller that rules judge, and the user of its token.
fn actor(exchange: &Exchange) -> Actor {
    let mut actor = Actor::anonymous();
    let (id, via) = match exchange.forwarded_peer() {
        Some(caller) => (caller.spiffe_id(), Some(caller.via().to_string())),
        None => (exchange.peer().and_then(Peer::spiffe_id), None),
    };
    if let Some(id) = id.map(SpiffeId::as_str) {
        actor = actor.spiffe(id.to_owned());
    }
    if let Some(via) = via {
        actor = actor.via(via);
    }
    let Some(claims) = exchange.claims() else {
        return actor;
    };
    if let (Some(issuer), Some(subject)) = (claims.issuer(), claims.subject()) {
        actor = actor.principal(issuer.to_owned(), subject.to_owned());
    }
    match text(claims, "azp") {
        Some(client) => actor.azp(client.to_owned()),
        None => actor,
    }
}

fn text<'a>(claims: &'a Claims, claim: &str) -> Option<&'a str> {
    claims.get(claim)?.as_str()
}

/// The connection of a caller; `None` of plaintext.
fn tls(peer: &Peer) -> Option<Tls> {
    let facts = peer.tls_facts()?;
    let mut tls = Tls::new(
        facts.version.unwrap_or("unknown"),
        facts.cipher_suite.unwrap_or("unknown"),
        facts.key_exchange.unwrap_or("unknown"),
    );
    if let Some(hash) = facts.certificate_sha256 {
        tls = tls.certificate(hex_of(&hash));
    }
    Some(tls)
}

/// The request's id, if it is a UUID, as the mesh makes them. A caller may send what it likes there.
fn request_id(trace: Option<&TraceContext>) -> Option<String> {
    let id = trace?.request_id().map(HeaderValue::to_str)?.ok()?;
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| id.to_owned())
}
