use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{Exchange, Peer};

/// Says by hand who calls: for tests, and where another TLS terminator accepts.
///
/// Layers inside it, [`RbacLayer`](crate::rbac::RbacLayer) say, and extractors see this [`Peer`].
/// It is the outermost layer, one per connection, as each connection has a peer of its own.
///
/// It only fills a gap. A peer that is known when the request comes stays, whether a listener of
/// this crate or another layer has put it there; and where a [`Mesh`](crate::Mesh) serves further
/// inside, the peer of its own connection counts, and this one does not.
///
/// # Security
///
/// Policy takes this peer for proven. Make the peer from the connection that was accepted, never
/// from what the request itself says, its headers among that: any client can write those. A caller
/// whose certificate you have not verified is [`Peer::plaintext`].
///
/// # Addresses
///
/// `remoteIpBlocks` and `ipBlocks` are judged by the remote address, and policies of one port by
/// the port of the local one. A Unix socket has neither: the unspecified address (`0.0.0.0:0`) as
/// the remote one is in no block but those that hold every address, and the local one carries the
/// port that policies are written for: those of one port pass over a local port 0, and the policy
/// guard warns of it.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_mesh::context::{Exchange, PeerLayer};
/// use tower_mesh::identity::SpiffeId;
/// use tower_mesh::Peer;
///
/// // As an acceptor of yours has found them, for one connection.
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
    /// A layer whose requests come from this peer, where none is known.
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
