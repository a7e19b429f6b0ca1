use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tower_layer::Layer;

use super::MeshBuilder;
use super::cells::Cells;
use super::inbound::{Server, ServerLayer};
use super::outbound::Client;
use super::shutdown::{Shutdown, Signal};
use crate::identity::{SpiffeId, Workload};
use crate::metrics::Registry;
use crate::policy::Engine;
use crate::tls::{Acceptor, Credentials, Listener};

/// A workload of the mesh: serves applications, calls others. Cheap to clone; made by [`Mesh::builder`].
#[derive(Clone)]
pub struct Mesh(Arc<Parts>);

pub(super) struct Parts {
    pub(super) workload: Workload,
    pub(super) cells: Cells,
    pub(super) credentials: Credentials,
    pub(super) server: ServerLayer,
    pub(super) client: Client,
    pub(super) registry: Registry,
    pub(super) shutdown: Shutdown,
}

impl Mesh {
    /// Begins to describe a mesh for this workload.
    pub fn builder(workload: Workload) -> MeshBuilder {
        MeshBuilder::new(workload)
    }

    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The client for calls to other workloads.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The whole inbound stack as one layer, for those who compose themselves.
    ///
    /// It guards what it wraps and nothing else: with axum's `Router::layer`, routes, merges and fallbacks that are added *after* it
    /// have no guard, and the router has already chosen by the path as it was sent; inside a nested router, policy sees only what nesting
    /// left of the path. [`protect`](Self::protect) the finished service instead, where you can. Requests must carry the [`Peer`](crate::context::Peer) of a [`Listener`] of this crate; one without is
    /// refused.
    #[must_use]
    pub fn server(&self) -> ServerLayer {
        self.0.server.clone()
    }

    /// Guards a finished service with the whole inbound stack.
    pub fn protect<S>(&self, service: S) -> Server<S> {
        self.0.server.layer(service)
    }

    /// A listener whose connections have proven who they are: for `axum::serve`, tonic's `serve_with_incoming`, or your own loop.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        self.listen_on(TcpListener::bind(address).await?)
    }

    /// As [`listen`](Self::listen), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn listen_on(&self, socket: TcpListener) -> io::Result<Listener> {
        let acceptor = Acceptor::new(self.0.credentials.clone()).modes(self.0.cells.modes.clone());
        Listener::new(socket, acceptor)
    }

    /// Ends every [`serve`](Self::serve): no connection is accepted any more, those that are open finish what they are doing within
    /// `grace`, and are then cut. Only the first call counts.
    pub fn shutdown(&self, grace: Duration) {
        self.0.shutdown.request(grace);
    }

    /// The metrics of this workload, to be rendered or added to.
    #[must_use]
    pub fn metrics(&self) -> &Registry {
        &self.0.registry
    }

    /// The policy engine as it is configured now.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.0.cells.config.load().engine.clone()
    }

    /// The identity in use.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        self.0.credentials.spiffe_id()
    }

    /// The certificate, key and roots in use; [`replace`](Credentials::replace) rotates them.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Who we are.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.0.workload
    }

    pub(super) fn shutdown_signal(&self) -> Signal {
        self.0.shutdown.signal()
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("workload", &self.0.workload)
            .finish_non_exhaustive()
    }
}
