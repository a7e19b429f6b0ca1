//! Serves an application: accepts connections, runs one task for each, and drains them at a
//! shutdown.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::Mesh;
#[cfg(feature = "audit")]
use super::audit::AuditedServer;
use super::drain_log;
use super::server::connection::bind::bind;
use super::server::connection::drain::{AfterHttp, DrainController};
use super::server::connection::io::IoTimeouts;
use super::server::connection::limits::HttpLimits;
use super::server::connection::quiet_streams::QuietStreams;
use super::server::connection::served_body::ServedBody;
use super::server::connection::service::ConnectionService;
use super::shutdown::{Last, Running, Signal};
use crate::context::Peer;
use crate::message::CountingBody;
use crate::tls::{Connection, Incoming, Listener};

/// The body of a request, as an application behind [`Mesh::serve`] gets it.
pub type RequestBody = CountingBody<ServedBody>;

impl Mesh {
    /// Serves an application on an address: TLS, telemetry and guards, then the application.
    ///
    /// Clients may speak HTTP/1.1 or HTTP/2. The *finished* service is wrapped, so that every
    /// route, fallback and nested router is guarded. Runs until [`shutdown`](Self::shutdown), then
    /// drains; dropping the future ends every connection at once. After the drain, the audit trail
    /// ends, and then spans that wait for a collector get up to five seconds.
    ///
    /// The future owns all that it needs, so that it can be spawned:
    /// `tokio::spawn(mesh.serve(address, app))`. It binds the address when it is first polled; a
    /// task that cannot bind ends at once with the error, so look at its handle.
    ///
    /// # Errors
    /// When the address cannot be bound. No client can make it fail.
    pub fn serve<A, S, B>(
        &self,
        address: A,
        service: S,
    ) -> impl Future<Output = io::Result<Drained>> + use<A, S, B>
    where
        A: ToSocketAddrs,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        async move {
            let socket = bind(address).await?;
            mesh.serve_on(socket, service).await
        }
    }

    /// As [`serve`](Self::serve), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn serve_on<S, B>(
        &self,
        socket: TcpListener,
        service: S,
    ) -> impl Future<Output = io::Result<Drained>> + use<S, B>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        async move {
            let listener = mesh.listen_for_serve(socket)?;
            Ok(mesh.run_guarded(listener, service).await)
        }
    }

    /// As [`serve`](Self::serve), on the Unix socket of a
    /// [trusted proxy](crate::mesh::TrustedProxy::unix_socket).
    ///
    /// A socket that an earlier process has left behind is replaced. The system gives the new one
    /// the permissions of the process's umask, so let its directory decide who may connect.
    ///
    /// # Errors
    /// When no trusted proxy was named for this path, and when the path cannot be bound.
    #[cfg(unix)]
    pub fn serve_unix<P, S, B>(
        &self,
        path: P,
        service: S,
    ) -> impl Future<Output = io::Result<Drained>> + use<P, S, B>
    where
        P: AsRef<Path>,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        async move {
            let listener = mesh.listen_on_unix(path.as_ref()).await?;
            Ok(mesh.run_guarded(listener, service).await)
        }
    }

    /// Serves a service on an address in plaintext and **without any guard**: for clients without a
    /// certificate, such as the kubelet or a load balancer. Give it a service of its own, for
    /// example [`probe`](Self::probe), never the application.
    ///
    /// The bounds on connections and on HTTP are those of [`serve`](Self::serve). After a
    /// [`shutdown`](Self::shutdown) it goes on until every [`serve`](Self::serve) of this mesh has
    /// drained, so that [`probe`](Self::probe) can meanwhile report that the mesh is not ready, and
    /// show the last metrics. Then it drains, too. Where no `serve` runs, for example under another
    /// server, it ends with the shutdown; in every case it ends when the grace period is over.
    ///
    /// ```no_run
    /// # async fn example(mesh: tower_mesh::Mesh, app: axum::Router) -> std::io::Result<()> {
    /// tokio::try_join!(
    ///     mesh.serve("0.0.0.0:8443", app),
    ///     mesh.serve_plaintext("0.0.0.0:8081", mesh.probe()),
    /// )?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn serve_plaintext<A, S, B>(
        &self,
        address: A,
        service: S,
    ) -> impl Future<Output = io::Result<Drained>> + use<A, S, B>
    where
        A: ToSocketAddrs,
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        async move {
            let socket = bind(address).await?;
            mesh.serve_plaintext_on(socket, service).await
        }
    }

    /// As [`serve_plaintext`](Self::serve_plaintext), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn serve_plaintext_on<S, B>(
        &self,
        socket: TcpListener,
        service: S,
    ) -> impl Future<Output = io::Result<Drained>> + use<S, B>
    where
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        async move {
            let listener = mesh.listen_in_plaintext(socket)?;
            let last = mesh.last();
            let for_one = || {
                let service = service.clone();
                |_: &Peer| service
            };
            Ok(mesh
                .run(listener, Some(last), for_one, |_: &Peer, _| {})
                .await)
        }
    }

    async fn run_guarded<S, B>(&self, listener: Listener, service: S) -> Drained
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = self.protect(service);
        let serving = self.serving();
        let for_one = || {
            let service = service.clone();
            |peer: &Peer| service.on_connection(peer.clone())
        };
        let inbound = service.inbound();
        let refused = move |peer: &Peer, status| inbound.refused_head(peer, status);
        let drained = self.run(listener, None, for_one, refused).await;
        self.ends(serving).await;
        drained
    }

    /// Counts a server with guards as running.
    pub(super) fn serving(&self) -> Serving {
        Serving {
            #[cfg(feature = "audit")]
            audited: self.audited_server(),
            running: self.running(),
        }
    }

    /// Writes what waits once a server with guards has drained. The audit trail comes first: a
    /// collector that hangs must not cost it its end.
    pub(super) async fn ends(&self, serving: Serving) {
        #[cfg(feature = "audit")]
        self.end_audit(serving.audited, FLUSH).await;
        self.flush_spans(FLUSH).await;
        self.flush_metrics(FLUSH).await;
        drop(serving.running);
    }

    /// Serves HTTP on a listener. `refused` learns of heads that hyper has refused by itself.
    async fn run<F, S, B>(
        &self,
        listener: Listener,
        last: Option<Last>,
        for_one: impl Fn() -> F,
        refused: impl Fn(&Peer, StatusCode) + Clone + Send + 'static,
    ) -> Drained
    where
        F: FnOnce(&Peer) -> S + Send + 'static,
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let limits = self.http_limits();
        let http = Arc::new((limits, self.quiet_streams(), limits.server()));
        let serve_one = |incoming: Incoming, stop: CancellationToken, cut| {
            let (http, service) = (Arc::clone(&http), for_one());
            let refused = refused.clone();
            let handshake = incoming.handshake();
            // The connection is served in place: passed to another future, by value or by
            // reference, the large parts would take their room in this task more than once.
            async move {
                let connection = tokio::select! {
                    connection = handshake => connection,
                    // The shutdown ends handshakes that are not complete.
                    () = stop.cancelled() => None,
                };
                let Some(connection) = connection else {
                    return;
                };
                let (limits, quiet, http) = &*http;
                let (mut drain, io, service) = parts(connection, service, limits, quiet, stop, cut);
                let left = {
                    let serving = pin!(http.serve_connection_with_upgrades(io, service));
                    drain.serve(serving).await
                };
                match left {
                    AfterHttp::Nothing => {}
                    AfterHttp::Tunnel(last) => Box::pin(drain.watch(last)).await,
                    AfterHttp::Refused(status) => refused(&drain.state.peer, status),
                }
            }
        };
        self.accept(listener, last, serve_one).await
    }

    /// Accepts connections until the shutdown, each in a task of its own, then drains. With `last`,
    /// it accepts until the last server with guards has ended after the shutdown.
    ///
    /// `serve_one` gets a token that tells the connection of the shutdown, and where to count the
    /// requests that are under way when it is dropped at the end of the grace period.
    pub(super) async fn accept<F>(
        &self,
        mut listener: Listener,
        mut last: Option<Last>,
        serve_one: impl Fn(Incoming, CancellationToken, Arc<AtomicUsize>) -> F,
    ) -> Drained
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut shutdown = self.shutdown_signal();
        let stop = CancellationToken::new();
        let cut = Arc::new(AtomicUsize::new(0));
        let (stats, place) = (listener.stats(), listener.place());
        let (mut asked, mut is_asked) = (self.shutdown_signal(), false);
        loop {
            tokio::select! {
                incoming = listener.incoming() => {
                    connections.spawn(serve_one(incoming, stop.child_token(), Arc::clone(&cut)));
                }
                Some(_) = connections.join_next() => {}
                (notice, grace) = asked.asked(), if !is_asked => {
                    is_asked = true;
                    drain_log::draining(&place, notice, grace, connections.len());
                }
                () = stopped(&mut shutdown, last.as_mut()), if is_asked => break,
            }
        }
        let stopped = Instant::now();
        stop.cancel();
        drop(listener);
        let drained = drained(connections, shutdown, &cut).await;
        drain_log::drained(&place, drained.cut, drained.cut_streams, stopped.elapsed());
        stats.count_cut(drained.cut_streams);
        drained
    }
}

/// Resolves when the server must stop accepting connections.
async fn stopped(shutdown: &mut Signal, last: Option<&mut Last>) {
    match last {
        Some(last) => last.stop(shutdown).await,
        None => shutdown.stop().await,
    }
}

/// A server with guards that runs.
pub(super) struct Serving {
    #[cfg(feature = "audit")]
    audited: Option<AuditedServer>,
    running: Running,
}

/// Makes the parts that serve a connection, and the controller that ends it.
fn parts<S>(
    connection: Connection,
    service: impl FnOnce(&Peer) -> S,
    limits: &HttpLimits,
    quiet: &QuietStreams,
    stop: CancellationToken,
    cut: Arc<AtomicUsize>,
) -> (
    DrainController,
    TokioIo<IoTimeouts<Connection>>,
    ConnectionService<S>,
) {
    let drain = DrainController::new(&connection, stop, cut);
    let state = &drain.state;
    let agreed = connection.stream().agreed_version();
    let service = service(connection.peer());
    let service =
        ConnectionService::new(service, Arc::clone(state), quiet.clone(), limits.body_idle);
    let io = IoTimeouts::new(connection, agreed, limits, Arc::clone(state));
    (drain, TokioIo::new(io), service)
}

/// How the connections ended after a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were cut when the time for draining was over.
    pub cut: usize,
    /// Requests that were under way on them.
    pub cut_streams: usize,
}

/// Waits for connections to finish what they are doing, then cuts those that have not.
async fn drained(
    mut connections: JoinSet<()>,
    mut shutdown: Signal,
    cut_streams: &AtomicUsize,
) -> Drained {
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {
            return Drained::default();
        }
        () = shutdown.cut() => {}
    }
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    connections.abort_all();
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(ABORTED, all).await;
    // A task that is still there has a handler that blocks its thread; we do not wait for it, and
    // count one request. Those that ended by themselves count none.
    let blocked = connections.len();
    Drained {
        cut,
        cut_streams: cut_streams.load(Ordering::Relaxed) + blocked,
    }
}

/// How long each of trail, spans and metrics may keep a server that has drained.
const FLUSH: Duration = Duration::from_secs(5);

/// Enough for ten thousand connections to be dropped.
const ABORTED: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
