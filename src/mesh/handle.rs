use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, ToSocketAddrs};

use super::MeshBuilder;
use super::announce;
use super::client::Client;
use super::client::pool::connector::MeshConnector;
use super::config::live::Cells;
use super::config::reload::Reloads;
use super::readiness::{IdentityState, Readiness};
use super::server::connection::bind::bind;
use super::server::connection::limits::HttpLimits;
use super::server::connection::quiet_streams::QuietStreams;
use super::server::{Server, ServerLayer};
use super::shutdown::{Last, Running, Shutdown, Signal};
use super::tls_metrics;
use crate::identity::{SpiffeId, Workload};
use crate::live::Live;
use crate::matcher::Cidr;
use crate::metrics::Registry;
use crate::policy::Engine;
use crate::tls::{
    Acceptor, Credentials, HandshakeTimeouts, Lifetimes, Limits, Listener, Mode, Modes, Protocol,
    RotationStats,
};

/// A workload of the mesh: serves applications, calls others. Cheap to clone; made by [`Mesh::builder`].
#[derive(Clone)]
pub struct Mesh(Arc<Parts>);

pub(super) struct Parts {
    pub(super) workload: Workload,
    pub(super) cells: Cells,
    /// None in plaintext.
    pub(super) credentials: Option<Credentials>,
    /// That of the credentials when they were first read, or what Istio would give this workload.
    pub(super) otherwise: SpiffeId,
    pub(super) server: ServerLayer,
    pub(super) client: Client,
    pub(super) registry: Registry,
    pub(super) shutdown: Shutdown,
    pub(super) rotation: Option<Arc<RotationStats>>,
    /// Whether the driver follows all that may change.
    pub(super) pulse: Option<Arc<AtomicBool>>,
    pub(super) reloads: Reloads,
    pub(super) listening: Listening,
}

/// How connections come in, and what bounds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening {
    pub(super) limits: Limits,
    pub(super) timeouts: HandshakeTimeouts,
    pub(super) lifetimes: Lifetimes,
    pub(super) http: HttpLimits,
    pub(super) own_tls: Option<Arc<ServerConfig>>,
    pub(super) load_balancers: Vec<Cidr>,
    pub(super) quiet: QuietStreams,
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

    /// A connector to the same hosts, with the same identities expected there, for a client of your own that takes one: `hyper_util`'s, or
    /// tonic's `Endpoint::connect_with_connector` (with [`Protocol::Http2`]).
    ///
    /// Such calls have no metrics and no trace, and a connection that ends is closed under the client when its time is over. Where a client
    /// takes a service instead, as tonic's generated ones do, prefer [`client`](Self::client). A client that takes neither but a rustls
    /// configuration, as reqwest does, gets one from [`DangerousCredentials::client_config`](crate::tls::DangerousCredentials::client_config).
    #[must_use]
    pub fn connector(&self, protocol: Protocol) -> MeshConnector {
        self.0.client.connector(protocol)
    }

    /// The whole inbound stack as one layer, for those who compose themselves.
    ///
    /// It guards what it wraps and nothing else: with axum's `Router::layer`, routes, merges and fallbacks that are added *after* it
    /// have no guard. The router has already chosen by the path as it was sent, so nothing is rewritten: what [`protect`](Self::protect)
    /// would rewrite, a path with `..` or a second host say, is answered with 400. Inside a nested router the whole target is judged,
    /// which is known where axum's router, or another layer of this crate, has kept it. [`protect`](Self::protect) the finished service
    /// instead, where you can. Requests must carry the [`Peer`](crate::context::Peer) of a [`Listener`] of this crate; one without is
    /// refused.
    #[must_use]
    pub fn server(&self) -> ServerLayer {
        self.0.server.clone()
    }

    /// Guards a finished service with the whole inbound stack.
    ///
    /// It stands in front of every router, and rewrites requests as a sidecar does: the target to its normalized form, the host to the one
    /// that was judged. Put into a router after all, it refuses like [`server`](Self::server).
    pub fn protect<S>(&self, service: S) -> Server<S> {
        self.0.server.protect(service)
    }

    /// A listener whose connections have proven who they are: for `axum::serve`, tonic's `serve_with_incoming`, or your own loop.
    ///
    /// Its connections speak HTTP, and keep the times of [`HttpLimits`] themselves, whatever their server does: see
    /// [`tls::HttpTimes`](crate::tls::HttpTimes). They know of a request by the mesh's guard ([`make`](Self::make), [`protect`](Self::protect),
    /// [`server`](Self::server)). What differs from [`serve`](Self::serve): no HTTP/2 client is asked whether it is there, so that one without a
    /// request is closed after 40 s without a word, and one that has vanished during a request stays until its server notices; a stream
    /// of HTTP/2 whose answer the client leaves no room for is not bounded; the numbers of [`HttpLimits`] are for the server to set; and a request
    /// that passes no guard is not seen: the connection may be closed under it on HTTP/2 once it is silent for 40 s, and goes without a bound
    /// on HTTP/1. For other protocols take a [`tls::Listener`](Listener).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        self.listen_on(bind(address).await?)
    }

    /// As [`listen`](Self::listen), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn listen_on(&self, socket: TcpListener) -> io::Result<Listener> {
        let listener = self.listen_for_serve(socket)?;
        Ok(listener.http_times(self.0.listening.http.times()))
    }

    /// For a server that sees to the times itself.
    pub(super) fn listen_for_serve(&self, socket: TcpListener) -> io::Result<Listener> {
        let Parts {
            workload,
            cells,
            credentials,
            ..
        } = &*self.0;
        let listener = self.listener(socket, cells.modes.clone())?;
        announce::serving(workload, credentials.as_ref(), cells, listener.local_addr());
        Ok(listener)
    }

    /// No TLS, whatever resources say.
    pub(super) fn listen_in_plaintext(&self, socket: TcpListener) -> io::Result<Listener> {
        let listener = self.listener(socket, Live::new(Modes::new(Mode::Disable)))?;
        announce::serving_in_plaintext(&self.0.workload, listener.local_addr());
        Ok(listener)
    }

    fn listener(&self, socket: TcpListener, modes: Live<Modes>) -> io::Result<Listener> {
        let listening = &self.0.listening;
        let acceptor = match self.credentials() {
            Some(credentials) => Acceptor::new(credentials.clone()),
            None => Acceptor::plaintext(),
        };
        let mut acceptor = acceptor
            .modes(modes)
            .timeouts(listening.timeouts)
            .lifetimes(listening.lifetimes);
        if let Some(config) = &listening.own_tls {
            acceptor = acceptor.own_tls(Arc::clone(config));
        }
        let listener = Listener::new(socket, acceptor)?
            .limits(listening.limits)
            .load_balancers(listening.load_balancers.iter().copied());
        tls_metrics::listener(&self.0.registry, listener.local_addr(), &listener.stats());
        Ok(listener)
    }

    /// Ends every [`serve`](Self::serve): no connection is accepted any more, those that are open finish what they are doing within
    /// `grace`, and are then cut. [`readiness`](Self::readiness) says so at once. Asked again, whatever is sooner counts, so that a second
    /// signal can end it with no grace.
    pub fn shutdown(&self, grace: Duration) {
        self.shutdown_after(Duration::ZERO, grace);
    }

    /// As [`shutdown`](Self::shutdown), with notice: first the mesh only says that it is not ready, for as long as it takes others to notice
    /// and to send nobody here any more.
    pub fn shutdown_after(&self, notice: Duration, grace: Duration) {
        self.0.shutdown.request(notice, grace);
    }

    /// Whether this mesh should get traffic: its identity is good, what may change is followed, and no shutdown was asked for.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let rotation = self.0.rotation.as_ref();
        let pulse = self.0.pulse.as_ref();
        Readiness {
            identity: match self.credentials() {
                None => IdentityState::Plaintext,
                Some(credentials) if credentials.is_withdrawn() => IdentityState::Withdrawn,
                Some(credentials) if credentials.is_valid() => IdentityState::Valid,
                Some(_) => IdentityState::Expired,
            },
            source_down_for: rotation
                .filter(|tally| tally.is_down())
                .map(|tally| tally.age()),
            unattended: pulse.is_some_and(|pulse| !pulse.load(Ordering::Acquire)),
            generation: self.0.cells.config.generation(),
            configured_at: self.0.reloads.taken(),
            refused_at: self.0.reloads.refused_at(),
            refused: self.0.reloads.refused(),
            draining: self.0.shutdown.is_requested(),
        }
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

    /// The identity in use. In [plaintext](crate::mesh::DangerousMeshBuilder::plaintext) nothing proves one: it is then the id that Istio would
    /// give this workload, `spiffe://<trust domain>/ns/<namespace>/sa/<account>`, so that the same
    /// [`upstream`](MeshBuilder::upstream) calls serve with and without certificates.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        let proven = self.credentials().map(Credentials::spiffe_id);
        proven.unwrap_or_else(|| self.0.otherwise.clone())
    }

    /// The certificate, key and roots in use; [`replace`](Credentials::replace) rotates them. `None` in
    /// [plaintext](crate::mesh::DangerousMeshBuilder::plaintext), where there are none.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.0.credentials.as_ref()
    }

    /// Who we are.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.0.workload
    }

    pub(super) fn quiet_streams(&self) -> QuietStreams {
        self.0.listening.quiet.clone()
    }

    pub(super) fn http_limits(&self) -> HttpLimits {
        self.0.listening.http
    }

    pub(super) fn shutdown_signal(&self) -> Signal {
        self.0.shutdown.signal()
    }

    /// A server with guards runs for as long as this is kept.
    pub(super) fn running(&self) -> Running {
        self.0.shutdown.guarded()
    }

    /// For a server that outlives those with guards.
    pub(super) fn last(&self) -> Last {
        self.0.shutdown.last()
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("workload", &self.0.workload)
            .finish_non_exhaustive()
    }
}
