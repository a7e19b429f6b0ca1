//! What servers and routers leave in a request's extensions.

use http::{Extensions, Uri};

use crate::context::Peer;

/// The peer that a server left in a request's extensions.
pub(super) fn peer_left(extensions: &Extensions) -> Option<&Peer> {
    let peer = extensions.get::<Peer>();
    peer.or_else(|| connected(extensions))
}

/// The peer that axum's own server left, behind a listener of this crate.
#[cfg(all(feature = "axum", feature = "tls"))]
fn connected(extensions: &Extensions) -> Option<&Peer> {
    let connected = extensions.get::<axum::extract::ConnectInfo<Peer>>()?;
    Some(&connected.0)
}

#[cfg(not(all(feature = "axum", feature = "tls")))]
fn connected(_: &Extensions) -> Option<&Peer> {
    None
}

#[cfg(feature = "axum")]
pub(super) fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    let original = extensions.get::<axum::extract::OriginalUri>()?;
    Some(&original.0)
}

#[cfg(feature = "axum")]
pub(super) fn original_uri_mut(extensions: &mut Extensions) -> Option<&mut Uri> {
    let original = extensions.get_mut::<axum::extract::OriginalUri>()?;
    Some(&mut original.0)
}

#[cfg(not(feature = "axum"))]
pub(super) fn original_uri(_: &Extensions) -> Option<&Uri> {
    None
}

#[cfg(not(feature = "axum"))]
pub(super) fn original_uri_mut(_: &mut Extensions) -> Option<&mut Uri> {
    None
}
