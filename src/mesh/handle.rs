//! The handle of a mesh: it serves, calls, and gives access to the parts.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Mutex;

#[cfg(feature = "audit")]
use super::audit::{Auditor, JudgedBy};
use super::client::pool::connector::MeshConnector;
use super::client::pool::names::WantedNames;
use super::client::{Client, Upstreams};
use super::config::live::LiveConfig;
use super::config::reload::Reloads;
use super::config::serving_log;
use super::error::{BuildError, Faults};
use super::options::{ListenerOptions, TcpOptions};
#[cfg(feature = "otlp")]
use super::push::otlp_metrics::MetricsPusher;
use super::server::connection::bind::bind;
#[cfg(unix)]
use super::server::connection::bind::bind_unix;
use super::server::connection::limits::HttpLimits;
use super::server::connection::quiet_streams::QuietStreams;
use super::server::{Server, ServerLayer, TrustedProxies};
use super::shutdown::{Last, Running, Shutdown, Signal};
use super::tls_metrics;
#[cfg(feature = "otlp")]
use crate::access_log::Sink;
use crate::identity::{SpiffeId, Workload};
use crate::jwt::TokenMode;
use crate::live::Live;
use crate::matcher::Cidr;
use crate::metrics::{PlanOwner, Registry};
use crate::policy::Engine;
use crate::propagation::Propagation;
#[cfg(feature = "audit")]
use crate::tls::RefusalObserver;
use crate::tls::{
    Acceptor, Credentials, Lifetimes, Listener, Mode, Modes, Protocol, RotationStats, Settings,
};

/// A workload of the mesh: serves applications, calls others. Cheap to clone; made by
/// [`Mesh::builder`].
#[derive(Clone)]
pub struct Mesh {
    parts: Arc<Parts>,
    listener: Arc<ListenerOptions>,
}

pub(super) struct Parts {
    pub(super) workload: Workload,
    pub(super) cells: LiveConfig,
    /// `None` in plaintext.
    pub(super) credentials: Option<Credentials>,
    /// The identity to show without credentials: the one first read, or the one that Istio would
    /// give this workload.
    pub(super) otherwise: SpiffeId,
    pub(super) server: ServerLayer,
    pub(super) client: Client,
    pub(super) registry: Registry,
    /// Other meshes in the same registry must agree with this one while it is there.
    pub(super) _plan: PlanOwner,
    pub(super) propagation: Propagation,
    /// Pushes the metrics to a collector, if there is one.
    #[cfg(feature = "otlp")]
    pub(super) pusher: Option<Arc<MetricsPusher>>,
    /// Where lines of access logs go that wait for a collector.
    #[cfg(feature = "otlp")]
    pub(super) log_sinks: Vec<Sink>,
    pub(super) shutdown: Shutdown,
    pub(super) rotation: Option<Arc<RotationStats>>,
    /// True while the driver follows all that may change.
    pub(super) pulse: Arc<AtomicBool>,
    /// Whether something may change apart from the addresses of upstreams with DNS names.
    pub(super) needs_driver: bool,
    pub(super) reloads: Reloads,
    pub(super) trusted_proxies: Arc<TrustedProxies>,
    pub(super) token_mode: TokenMode,
    /// Writes records, if there is an audit trail.
    #[cfg(feature = "audit")]
    pub(super) auditor: Option<Arc<Auditor>>,
    /// Whether the trail ends with the mesh.
    #[cfg(feature = "audit")]
    pub(super) ends_audit: bool,
    /// The TLS settings for hosts outside the mesh.
    pub(super) tls: Settings,
    /// Locked while upstreams are replaced: the last call wins.
    pub(super) names: Mutex<WantedNames>,
    pub(super) lifetimes: Lifetimes,
}

impl Mesh {
    pub(super) fn new(parts: Parts, listener: ListenerOptions) -> Self {
        Self {
            parts: Arc::new(parts),
            listener: Arc::new(listener),
        }
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The client for calls to other workloads.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.parts.client
    }

    /// A connector to the same hosts, which expects the same identities there, for a client of your
    /// own that takes one: `hyper_util`'s, or tonic's `Endpoint::connect_with_connector` (with
    /// [`Protocol::Http2`]).
    ///
    /// Such calls have no metrics and no trace, and a connection that reaches the end of its
    /// lifetime is closed without the client's knowledge. Where a client takes a service instead,
    /// as tonic's generated ones do, prefer [`client`](Self::client). A client that takes only a
    /// rustls configuration, as reqwest does, gets one from
    /// [`DangerousCredentials::client_config`](crate::tls::DangerousCredentials::client_config).
    #[must_use]
    pub fn connector(&self, protocol: Protocol) -> MeshConnector {
        self.parts.client.connector(protocol)
    }

    /// The whole inbound stack as one layer, for applications that compose their layers themselves.
    ///
    /// It guards what it wraps and nothing else: with axum's `Router::layer`, routes, merges and
    /// fallbacks that are added *after* it have no guard. Requests must carry the
    /// [`Peer`](crate::context::Peer) of a [`Listener`] of this crate; others are refused.
    ///
    /// The router has already chosen by the path as it was sent, so this layer rewrites nothing: it
    /// answers 400 where [`protect`](Self::protect) would rewrite, for example a path with `..` or
    /// a second host. Inside a nested router it judges the whole target, which it knows where
    /// axum's router, or another layer of this crate, has kept it. Where you can,
    /// [`protect`](Self::protect) the finished service instead.
    #[must_use]
    pub fn server(&self) -> ServerLayer {
        self.parts.server.trusting(self.listener.trust)
    }

    /// Guards a finished service with the whole inbound stack.
    ///
    /// It goes in front of every router, and rewrites requests as a sidecar does: the target to its
    /// normalized form, the host to the one that was judged. Inside a router it refuses like
    /// [`server`](Self::server).
    pub fn protect<S>(&self, service: S) -> Server<S> {
        self.server().protect(service)
    }

    /// A listener whose connections have passed the handshake: for `axum::serve`, tonic's
    /// `serve_with_incoming`, or your own loop. For other protocols than HTTP take a
    /// [`tls::Listener`](Listener).
    ///
    /// Its connections keep the timeouts of [`HttpLimits`] themselves, whatever their server does:
    /// see [`tls::HttpTimeouts`](crate::tls::HttpTimeouts). They learn of a request from the mesh's
    /// guard ([`make`](Self::make), [`protect`](Self::protect), [`server`](Self::server)). The
    /// differences from [`serve`](Self::serve):
    ///
    /// - HTTP/2 clients get no pings. A client without a request is closed after 40 s of silence
    ///   (twice [`HttpLimits::keep_alive`]), and one that vanishes during a request stays until its
    ///   server notices.
    /// - An HTTP/2 stream whose client leaves no room for the response is not bounded.
    /// - The counts and sizes of [`HttpLimits`] are for the server to set.
    /// - A request that passes no guard is not seen: on HTTP/2 its connection may be closed after
    ///   40 s of silence, and on HTTP/1 it has no bound.
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
        Ok(listener.http_timeouts(self.listener.http.timeouts()))
    }

    /// A listener for a server that keeps the times itself.
    pub(super) fn listen_for_serve(&self, socket: TcpListener) -> io::Result<Listener> {
        self.listen_with(socket, self.acceptor(self.parts.cells.modes.clone()))
    }

    /// A listener whose connections carry no HTTP.
    pub(super) fn listen_for_tcp(&self, socket: TcpListener) -> io::Result<Listener> {
        let acceptor = self.acceptor(self.parts.cells.modes.clone());
        self.listen_with(socket, acceptor.tcp())
    }

    fn listen_with(&self, socket: TcpListener, mut acceptor: Acceptor) -> io::Result<Listener> {
        let local = socket.local_addr()?;
        let proxy = self.parts.trusted_proxies.on_port(local.port());
        let is_proxys = proxy.is_some();
        if let Some(proxy) = proxy {
            refuse_open_port(local)?;
            acceptor = acceptor.trusting(proxy);
        }
        let listener = Listener::new(socket, acceptor)?;
        let mut listener = self.listener(listener, &tls_metrics::listener_address(local));
        if is_proxys {
            listener = listener.load_balancers(everyone());
        }
        self.log_serving(&listener);
        Ok(listener)
    }

    /// A listener on the Unix socket of a trusted proxy.
    #[cfg(unix)]
    pub(super) async fn listen_on_unix(&self, path: &Path) -> io::Result<Listener> {
        let proxy = self.parts.trusted_proxies.on_unix(path);
        let (proxy, port) = proxy.ok_or_else(|| {
            let what = format!(
                "cannot serve on {path:?}: no trusted proxy connects to it, and a Unix socket has \
                 no TLS: name it in danger().trusted_proxy(TrustedProxy::unix_socket(..))"
            );
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        let name = proxy.via.to_string();
        let acceptor = self.acceptor(self.parts.cells.modes.clone());
        let acceptor = acceptor.trusting(proxy);
        let listener = Listener::unix(bind_unix(path).await?, port, acceptor);
        let listener = self.listener(listener, &name);
        let listener = listener.load_balancers(everyone());
        self.log_serving(&listener);
        Ok(listener)
    }

    fn log_serving(&self, listener: &Listener) {
        let Parts {
            workload,
            cells,
            credentials,
            ..
        } = &*self.parts;
        serving_log::serving(workload, credentials.as_ref(), cells, listener);
    }

    /// A listener without TLS, whatever mode resources set.
    pub(super) fn listen_in_plaintext(&self, socket: TcpListener) -> io::Result<Listener> {
        let acceptor = self.acceptor(Live::new(Modes::new(Mode::Disable)));
        let listener = Listener::new(socket, acceptor)?;
        let address = tls_metrics::listener_address(listener.local_addr());
        let listener = self.listener(listener, &address);
        serving_log::serving_in_plaintext(&self.parts.workload, listener.local_addr());
        Ok(listener)
    }

    fn acceptor(&self, modes: Live<Modes>) -> Acceptor {
        let listening = &*self.listener;
        let acceptor = match self.credentials() {
            Some(credentials) => Acceptor::new(credentials.clone()),
            None => Acceptor::plaintext(),
        };
        let mut acceptor = acceptor
            .modes(modes)
            .timeouts(listening.timeouts)
            .lifetimes(self.parts.lifetimes);
        if let Some(config) = &listening.own_tls {
            acceptor = acceptor.own_tls(Arc::clone(config));
        }
        acceptor
    }

    /// Bounds a listener, and registers its metrics under this address.
    fn listener(&self, listener: Listener, address: &str) -> Listener {
        let listening = &*self.listener;
        let listener = listener
            .limits(listening.limits)
            .load_balancers(listening.load_balancers.iter().copied());
        tls_metrics::listener(&self.parts.registry, address, &listener.stats());
        #[cfg(feature = "audit")]
        let listener = match self.parts.auditor.clone() {
            Some(auditor) => {
                let config = self.parts.cells.inbound.clone();
                listener.observed_by(RefusalObserver::new(move |remote, reason| {
                    let serving = config.load();
                    let by = serving.audited.as_ref().map(|config| JudgedBy {
                        generation: serving.generation(),
                        config: config.clone(),
                    });
                    auditor.handshake_refused(remote, reason, by.as_ref());
                }))
            }
            None => listener,
        };
        listener
    }

    /// Ends every [`serve`](Self::serve): servers accept no more connections, and those that are
    /// open get `grace` to finish what they are doing; then they are cut.
    /// [`readiness`](Self::readiness) shows it at once. Of several calls the earliest times count,
    /// so that a second signal can end it without grace.
    pub fn shutdown(&self, grace: Duration) {
        self.shutdown_after(Duration::ZERO, grace);
    }

    /// As [`shutdown`](Self::shutdown), after `notice`: until then the mesh still serves and only
    /// reports that it is not ready, so that load balancers can stop sending requests.
    pub fn shutdown_after(&self, notice: Duration, grace: Duration) {
        self.parts.shutdown.request(notice, grace);
    }

    /// The same mesh, with other options for the listeners of the returned handle: those of its
    /// [`serve`](Self::serve), [`listen`](Self::listen) and the like. One option is of
    /// [`serve`](Self::serve) alone:
    /// [`quiet_grpc`](crate::mesh::ListenerOptions::quiet_grpc). Behind [`listen`](Self::listen)
    /// the builder's methods count, because the guard keeps that bound there.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_mesh::{Mesh, mesh::HttpLimits};
    /// # fn uploads(mesh: &Mesh) -> Result<(), tower_mesh::mesh::BuildError> {
    /// let mut limits = HttpLimits::default();
    /// limits.body_idle = Duration::from_secs(300);
    /// let uploads = mesh.with_listener(|listener| listener.http(limits))?;
    /// # let _ = uploads;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// All mistakes of these options.
    pub fn with_listener(
        &self,
        set: impl FnOnce(ListenerOptions) -> ListenerOptions,
    ) -> Result<Self, BuildError> {
        let listener = set((*self.listener).clone());
        let mut faults = Faults::new("Mesh");
        faults.mistakes("with_listener: ", &listener.mistakes);
        if self.parts.credentials.is_none() && listener.own_tls.is_some() {
            faults.mistake(
                "with_listener: own_tls: this asks for TLS, and the mesh speaks plaintext: \
                 leave it out",
            );
        }
        match faults.is_empty() {
            true => Ok(Self {
                parts: Arc::clone(&self.parts),
                listener: Arc::new(listener),
            }),
            false => Err(faults.into()),
        }
    }

    /// Replaces the hosts that the client may call; it calls no others from now on.
    ///
    /// Calls under way go on. An address that both the old and the new upstreams have, for the same
    /// host and identities, keeps its connections; other connections end with their calls. New DNS
    /// names are looked up first, for five seconds at most; then the [`Driver`](crate::Driver)
    /// follows them. Connections of a [`connector`](Self::connector) belong to the other client
    /// and stay: see [`MeshConnector`].
    ///
    /// # Errors
    /// All mistakes of the upstreams; nothing is changed then.
    pub async fn replace_upstreams(&self, upstreams: Upstreams) -> Result<(), BuildError> {
        let Parts {
            workload,
            cells,
            credentials,
            tls,
            names,
            ..
        } = &*self.parts;
        let mut mistakes = Vec::new();
        let is_plaintext = credentials.is_none();
        let outbound = upstreams.compile(workload.namespace(), tls, is_plaintext, &mut mistakes);
        let mut faults = Faults::new("Mesh");
        faults.mistakes("replace_upstreams: ", &mistakes);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let names = names.lock().await;
        let outbound = outbound.in_place_of(&cells.outbound.load());
        names.first(outbound.names()).await;
        cells.publish_outbound(outbound);
        names.follow(cells.outbound.load().names());
        Ok(())
    }

    /// The metrics of this workload, to be rendered or added to.
    #[must_use]
    pub fn metrics(&self) -> &Registry {
        &self.parts.registry
    }

    /// The policy engine in use; a reload replaces it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.parts.cells.inbound.load().engine.clone()
    }

    /// The identity in use. In [plaintext](crate::mesh::DangerousMesh::plaintext) there is no
    /// proven one: this is then the id that Istio would give this workload, `spiffe://<trust
    /// domain>/ns/<namespace>/sa/<account>`, so that the same
    /// [`upstream`](crate::MeshBuilder::upstream) calls work with and without certificates.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        let proven = self.credentials().map(Credentials::spiffe_id);
        proven.unwrap_or_else(|| self.parts.otherwise.clone())
    }

    /// The certificate, key and roots in use; [`replace`](Credentials::replace) rotates them.
    /// `None` in [plaintext](crate::mesh::DangerousMesh::plaintext).
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.parts.credentials.as_ref()
    }

    /// The workload that this mesh is for.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.parts.workload
    }

    pub(super) fn quiet_streams(&self) -> QuietStreams {
        self.listener.quiet.clone()
    }

    pub(super) fn http_limits(&self) -> HttpLimits {
        self.listener.http
    }

    pub(super) fn tcp_options(&self) -> TcpOptions {
        self.listener.tcp
    }

    pub(super) fn shutdown_signal(&self) -> Signal {
        self.parts.shutdown.signal()
    }

    /// Counts a server with guards as running until dropped.
    pub(super) fn running(&self) -> Running {
        self.parts.shutdown.guarded()
    }

    /// What a server waits for that must outlive those with guards.
    pub(super) fn last(&self) -> Last {
        self.parts.shutdown.last()
    }
}

/// Every address: on the socket of a trusted proxy each client is the proxy, which opens
/// connections before it needs them.
fn everyone() -> impl Iterator<Item = Cidr> {
    let ranges = ["0.0.0.0/0", "::/0"];
    ranges
        .into_iter()
        .filter_map(|range| Cidr::parse(range).ok())
}

/// Refuses an address other than of loopback for the port of a trusted proxy.
fn refuse_open_port(local: SocketAddr) -> io::Result<()> {
    if local.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let port = local.port();
    let what = format!(
        "cannot serve on {local}: a trusted proxy connects to port {port}, so whoever reaches it \
         can name any caller: serve on 127.0.0.1:{port} or [::1]:{port}"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("workload", &self.parts.workload)
            .finish_non_exhaustive()
    }
}
