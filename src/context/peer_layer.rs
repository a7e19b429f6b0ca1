//! States the peer of requests by hand, as a tower layer.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{Exchange, Peer};

/// States the peer of requests, for tests and for connections that another TLS terminator accepts.
///
/// Inner layers, such as [`RbacLayer`](crate::rbac::RbacLayer), and extractors see this [`Peer`].
/// Make it the outermost layer, and make one for each connection, because each connection has its
/// own peer.
///
/// It only fills a gap. If a listener of this crate or another layer has already set a peer, that
/// peer stays. If a [`Mesh`](crate::Mesh) serves further inside, the peer of its own connection
/// counts instead.
///
/// # Security
///
/// Policy treats this peer as proven. Make it from the accepted connection, never from the request
/// or its headers: any client can write those. For a caller whose certificate you have not
/// verified, use [`Peer::plaintext`].
///
/// # Addresses
///
/// `remoteIpBlocks` and `ipBlocks` test the remote address; policies for one port test the port of
/// the local address. A Unix socket has neither. Use the unspecified address (`0.0.0.0:0`) as the
/// remote one; it is only in blocks that hold every address. Give the local address the port that
/// policies are written for. Policies for one port do not apply to a local port 0, and the policy
/// guard logs a warning about it.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_mesh::context::{Exchange, PeerLayer};
/// use tower_mesh::identity::SpiffeId;
/// use tower_mesh::Peer;
///
/// // Your acceptor knows these for each connection.
/// let (remote, local) = ("10.0.0.7:40312".parse()?, "10.0.0.9:8443".parse()?);
/// let desk = SpiffeId::new("spiffe://cluster.local/ns/default/sa/desk")?;
/// let peer = Peer::proven(remote, local, desk);
/// // A caller without identity is `Peer::plaintext(remote, local)`.
///
/// let app = service_fn(async |request: Request<()>| {
///     let exchange = request.extensions().get::<Exchange>().cloned();
///     let caller = exchange.and_then(|exchange| exchange.peer()?.principal().map(str::to_owned));
///     Ok::<_, std::convert::Infallible>(Response::new(caller.unwrap_or_default()))
/// });
/// let service = ServiceBuilder::new().layer(PeerLayer::new(peer)).service(app);
/// let answer = service.oneshot(Request::new(())).await?;
/// assert_eq!(answer.body(), "cluster.local/ns/default/sa/desk");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PeerLayer {
    peer: Peer,
}

impl PeerLayer {
    /// A layer that gives this peer to requests that have none.
    #[must_use]
    pub const fn new(peer: Peer) -> Self {
        Self { peer }
    }
}

impl<S> Layer<S> for PeerLayer {
    type Service = WithPeer<S>;

    fn layer(&self, inner: S) -> WithPeer<S> {
        WithPeer {
            inner,
            peer: self.peer.clone(),
        }
    }
}

/// The service that [`PeerLayer`] makes.
#[derive(Clone, Debug)]
pub struct WithPeer<S> {
    inner: S,
    peer: Peer,
}

impl<S, ReqBody> Service<Request<ReqBody>> for WithPeer<S>
where
    S: Service<Request<ReqBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> S::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::from_request(&mut head);
        exchange.set_peer(self.peer.clone());
        self.inner.call(Request::from_parts(head, body))
    }
}
