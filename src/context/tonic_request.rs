//! Reads the facts of a request from a tonic request.

use tonic::Request;

use super::{Claims, Exchange, Peer, TraceContext};

/// Gives gRPC methods the facts that axum handlers get from extractors.
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_mesh::context::RequestFacts;
///
/// async fn admit(request: Request<()>) -> Result<Response<String>, Status> {
///     let peer = request.peer().ok_or_else(|| Status::internal("not behind the mesh"))?;
///     let caller = peer.principal().ok_or_else(|| Status::unauthenticated("no certificate"))?;
///     Ok(Response::new(format!("admitted by {caller}")))
/// }
/// # let _ = admit;
/// ```
pub trait RequestFacts {
    /// The caller; `None` if the service is not behind an acceptor of this crate.
    fn peer(&self) -> Option<&Peer>;
    /// The end user; `None` without a verified token.
    fn claims(&self) -> Option<&Claims>;
    /// The trace; `None` if the service is not behind a propagation layer.
    fn trace(&self) -> Option<&TraceContext>;
}

impl<T> RequestFacts for Request<T> {
    fn peer(&self) -> Option<&Peer> {
        let told = exchange(self).and_then(Exchange::peer);
        // Under tonic's own server, without any layer of this crate, only the listener has stored a
        // peer.
        told.or_else(|| self.extensions().get())
    }

    fn claims(&self) -> Option<&Claims> {
        exchange(self)?.claims()
    }

    fn trace(&self) -> Option<&TraceContext> {
        exchange(self)?.trace()
    }
}

fn exchange<T>(request: &Request<T>) -> Option<&Exchange> {
    request.extensions().get()
}
