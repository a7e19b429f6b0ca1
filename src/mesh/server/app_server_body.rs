//! Bounds the client's pauses in a request's body where the server is the application's own.

#[cfg(any(feature = "axum", feature = "tonic"))]
use std::any::Any;
#[cfg(any(feature = "axum", feature = "tonic"))]
use std::mem;

use http::request::Parts;

use super::connection::quiet_streams::QuietStreams;
use crate::context::Peer;

/// Bounds the body of a request that came in over [`Mesh::listen`](crate::Mesh::listen), where the
/// server is the application's own and the connection leaves that bound to us.
///
/// The body must keep its type, as applications name it. Those of axum and tonic are boxes of any
/// body, so one of them can hold its bounded self: one allocation for a request with a body. Bodies
/// of other types are left as they are.
pub(in crate::mesh) fn bound<B: 'static>(
    quiet: &QuietStreams,
    head: &Parts,
    peer: &Peer,
    body: &mut B,
) {
    let Some(idle) = peer.activity().body_idle() else {
        return;
    };
    #[cfg(any(feature = "axum", feature = "tonic"))]
    {
        let body: &mut dyn Any = body;
        #[cfg(feature = "axum")]
        if let Some(body) = body.downcast_mut::<axum_core::body::Body>()
            && !http_body::Body::is_end_stream(body)
        {
            let bounded = quiet.bound(head, mem::take(body), peer, idle);
            *body = axum_core::body::Body::new(bounded);
        }
        #[cfg(feature = "tonic")]
        if let Some(body) = body.downcast_mut::<tonic::body::Body>()
            && !http_body::Body::is_end_stream(body)
        {
            let bounded = quiet.bound(head, mem::take(body), peer, idle);
            *body = tonic::body::Body::new(bounded);
        }
    }
    #[cfg(not(any(feature = "axum", feature = "tonic")))]
    let _ = (quiet, head, body, idle);
}
