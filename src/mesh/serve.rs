use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::Mesh;
use super::farewell::Farewell;
use super::patience::Patience;
use super::served_body::ServedBody;
use super::shutdown::Signal;
use super::streams::Streams;
use crate::context::Peer;
use crate::message::CountingBody;
use crate::tls::{Connection, Incoming, Lifetime, Listener, Tally};

/// The body of a request as an application behind [`Mesh::serve`] gets it.
pub type RequestBody = CountingBody<ServedBody>;

impl Mesh {
    /// Serves an application on an address: TLS, telemetry and guards, then the application.
    ///
    /// HTTP/1.1 and HTTP/2 are both spoken, as the client asks. The *finished* service is wrapped, so that no route, fallback or
    /// nested router is left outside. Runs until [`shutdown`](Self::shutdown), then drains; dropping the future ends every connection
    /// at once.
    ///
    /// # Errors
    /// When the address cannot be listened on. No client can make it fail.
    pub async fn serve<S, B>(&self, address: impl ToSocketAddrs, service: S) -> io::Result<Drained>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.serve_on(TcpListener::bind(address).await?, service)
            .await
    }

    /// As [`serve`](Self::serve), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub async fn serve_on<S, B>(&self, socket: TcpListener, service: S) -> io::Result<Drained>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = self.listen_on(socket)?;
        let service = self.protect(service);
        let for_one = || {
            let service = service.clone();
            |peer: &Peer| service.of(peer.clone())
        };
        Ok(self.run(listener, for_one).await)
    }

    /// Serves something on an address in plaintext and **without any guard**: what a kubelet or a load balancer asks, that has no
    /// certificate. Give it a service of its own, [`probe`](Self::probe) say, never the application.
    ///
    /// The bounds on connections and on HTTP are those of [`serve`](Self::serve), and it ends with it.
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
    /// When the address cannot be listened on.
    pub async fn serve_plaintext<S, B>(
        &self,
        address: impl ToSocketAddrs,
        service: S,
    ) -> io::Result<Drained>
    where
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.serve_plaintext_on(TcpListener::bind(address).await?, service)
            .await
    }

    /// As [`serve_plaintext`](Self::serve_plaintext), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub async fn serve_plaintext_on<S, B>(
        &self,
        socket: TcpListener,
        service: S,
    ) -> io::Result<Drained>
    where
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = self.listen_in_plaintext(socket)?;
        let for_one = || {
            let service = service.clone();
            |_: &Peer| service
        };
        Ok(self.run(listener, for_one).await)
    }

    /// Accepts and serves until the shutdown, then drains.
    async fn run<F, S, B>(&self, mut listener: Listener, for_one: impl Fn() -> F) -> Drained
    where
        F: FnOnce(&Peer) -> S + Send + 'static,
        S: Service<Request<ServedBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let limits = self.http_limits();
        let http = Arc::new(limits.server());
        let mut connections = JoinSet::new();
        let mut shutdown = self.shutdown_signal();
        let cut = Arc::new(AtomicUsize::new(0));
        let tally = listener.tally();
        loop {
            tokio::select! {
                incoming = listener.incoming() => {
                    let (http, cut) = (Arc::clone(&http), Arc::clone(&cut));
                    let (service, mut shutdown) = (for_one(), shutdown.clone());
                    connections.spawn(async move {
                        let Some(connection) = handshake(incoming, &mut shutdown).await else {
                            return;
                        };
                        let lifetime = connection.stream().lifetime();
                        let ending = Ending::of(&connection, &cut);
                        let streams = &ending.streams;
                        let service = service(connection.peer());
                        let service = Farewell::new(service, Arc::clone(streams), limits.body_idle);
                        let io = Patience::new(connection, limits, Arc::clone(streams));
                        let serving = http
                            .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service));
                        serve_until(serving, lifetime, ending, shutdown).await;
                    });
                }
                Some(_) = connections.join_next() => {}
                () = shutdown.stop() => break,
            }
        }
        drop(listener);
        let drained = drained(connections, shutdown, &cut).await;
        if drained.cut > 0 {
            let Drained { cut, cut_streams } = drained;
            tracing::warn!(target: "tower_mesh::serve", cut, cut_streams, "cut what did not end in time");
        }
        tally.count_cut(drained.cut_streams);
        drained
    }
}

/// Makes the handshake of a connection, in the task that serves it; a shutdown spares the client the rest.
async fn handshake(incoming: Incoming, shutdown: &mut Signal) -> Option<Connection> {
    // On the heap, and gone when it is over: its state is larger than what an idle connection needs, and would stay in its task.
    let handshake = Box::pin(incoming.handshake());
    tokio::select! {
        connection = handshake => connection,
        () = shutdown.stop() => None,
    }
}

/// When a connection should end, and how that is said on it.
struct Ending {
    streams: Arc<Streams>,
    tally: Arc<Tally>,
    /// Where the requests are counted that are under way when the connection is cut.
    cut: Arc<AtomicUsize>,
}

impl Ending {
    fn of(connection: &Connection, cut: &Arc<AtomicUsize>) -> Self {
        Self {
            streams: Arc::default(),
            tally: Arc::clone(connection.tally()),
            cut: Arc::clone(cut),
        }
    }
}

/// Counts, when dropped, the requests that are then under way, unless the connection has ended by itself.
struct CountCut<'a> {
    ending: &'a Ending,
    has_ended: bool,
}

impl CountCut<'_> {
    fn ended<E: fmt::Display>(mut self, ended: Result<(), E>) {
        self.has_ended = true;
        // What a client does to its own connection is the client's business, counted where it matters.
        if let Err(error) = ended {
            tracing::debug!(target: "tower_mesh::serve", %error, "connection ended");
        }
    }
}

impl Drop for CountCut<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let open = self.ending.streams.open();
            self.ending.cut.fetch_add(open, Ordering::Relaxed);
        }
    }
}

/// Serves a connection to its end: its client's, that of its certificates, or ours. The last two let it finish what it is doing.
async fn serve_until<C, E>(serving: C, mut lifetime: Lifetime, ending: Ending, mut shutdown: Signal)
where
    C: GracefulConnection<Error = E>,
    E: fmt::Display,
{
    let mut serving = pin!(serving);
    // Declared after `serving`, so dropped before what it counts.
    let count = CountCut {
        ending: &ending,
        has_ended: false,
    };
    let mut time: Option<Time> = None;
    // Whether hyper was told to end it, and whether a shutdown asked for that.
    let (mut told, mut asked) = (false, false);
    loop {
        let next = time.map(|time| if told { time.cut } else { time.close });
        let step = poll_fn(|cx| {
            let polled = serving.as_mut().poll(cx);
            // Before the preface was read hyper would drop the connection, and with it the request that comes behind.
            if polled.is_pending() && time.is_some() && !told && ending.streams.is_http2() {
                told = true;
                serving.as_mut().graceful_shutdown();
                return serving.as_mut().poll(cx);
            }
            polled
        });
        tokio::select! {
            ended = step => return count.ended(ended),
            end = lifetime.ended() => {
                tracing::debug!(target: "tower_mesh::serve", reason = %end.reason, "draining a connection");
                if time.is_none() {
                    ending.streams.end();
                    ending.tally.count_ended(end.reason);
                }
                time = Some(Time::of(end.grace).sooner(time));
            }
            // Whoever drains them all cuts them all, and counts.
            () = shutdown.stop(), if !asked => {
                asked = true;
                ending.streams.end();
                if !told {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
            () = reach(next) => match time {
                Some(time) if Instant::now() >= time.cut => break,
                _ if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
                _ => {}
            },
        }
    }
    ending.tally.count_cut(ending.streams.open());
    count.ended(Ok::<(), E>(()));
}

/// What a connection that ends may still take.
#[derive(Clone, Copy)]
struct Time {
    /// An HTTP/1 connection goes with its next response. One that is idle then goes; what has begun by then has the rest.
    close: Instant,
    cut: Instant,
}

impl Time {
    fn of(grace: Duration) -> Self {
        let cut = Instant::now() + grace;
        Self {
            close: cut - LAST_RESPONSE.min(grace / 4),
            cut,
        }
    }

    fn sooner(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or(self);
        Self {
            close: self.close.min(other.close),
            cut: self.cut.min(other.cut),
        }
    }
}

async fn reach(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// How the connections ended after a shutdown was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were cut, as the time for draining was over.
    pub cut: usize,
    /// Requests that were under way on them.
    pub cut_streams: usize,
}

/// Lets connections finish what they are doing, then cuts those that have not.
async fn drained(
    mut connections: JoinSet<()>,
    mut shutdown: Signal,
    cut_streams: &AtomicUsize,
) -> Drained {
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => return Drained::default(),
        () = shutdown.cut() => {}
    }
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    // Those that ended by themselves left nothing under way.
    connections.shutdown().await;
    Drained {
        cut,
        cut_streams: cut_streams.load(Ordering::Relaxed),
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// For the response that was under way when an HTTP/1 connection had to go.
const LAST_RESPONSE: Duration = Duration::from_secs(5);
