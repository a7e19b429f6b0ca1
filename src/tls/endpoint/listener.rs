//! Accepts connections from a socket, and hands them out after their handshakes.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Duration, Sleep, sleep};

use crate::log_limit::limited;
use crate::matcher::Cidr;
use crate::tls::connection::http_timeouts::HttpTimeouts;
use crate::tls::connection::inbound::Connection;
use crate::tls::connection::socket::Socket;
use crate::tls::connection::stats::HandshakeStats;
use crate::tls::reason::{REFUSED, Reason};

use super::acceptor::Acceptor;
use super::admission::{Admission, Limits, permits};
use super::incoming::Incoming;
use super::refusal_observer::RefusalObserver;
use super::socket::ListeningSocket;

/// Accepts TCP connections and returns those whose handshake is done.
///
/// Handshakes run concurrently, away from the accept path: a slow client delays no other, and a
/// client takes a turn only once its hello has come. The [`Acceptor`] bounds their time, [`Limits`]
/// their number. A failed handshake is counted and logged and is never an error of the listener.
/// When the process runs out of file descriptors, the listener pauses; nothing ends it. Dropping it
/// closes the socket and aborts the handshakes in progress.
///
/// Nothing happens unless [`accept`](Self::accept) or [`incoming`](Self::incoming) is polled. With
/// feature `axum` it is a listener for `axum::serve`, with `tonic` the stream for
/// `serve_with_incoming`.
pub struct Listener {
    socket: ListeningSocket,
    local: SocketAddr,
    acceptor: Acceptor,
    limits: Limits,
    timeouts: Option<HttpTimeouts>,
    stats: Arc<HandshakeStats>,
    observer: RefusalObserver,
    handshakes: JoinSet<Option<Connection>>,
    admission: Admission,
    /// Connections that may be open at once.
    open: Arc<Semaphore>,
    /// The permit for the next connection.
    permit: Option<OwnedSemaphorePermit>,
    /// The wait for that permit, when all are taken.
    waiting: Option<Waiting>,
    is_full: bool,
    /// A pause in accepting, after an error.
    pause: Option<Pin<Box<Sleep>>>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// When it cannot listen on the address.
    pub async fn bind(
        address: impl tokio::net::ToSocketAddrs,
        acceptor: Acceptor,
    ) -> io::Result<Self> {
        Self::new(TcpListener::bind(address).await?, acceptor)
    }

    /// Accepts on a socket that already listens.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub fn new(tcp: TcpListener, acceptor: Acceptor) -> io::Result<Self> {
        let local = tcp.local_addr()?;
        Ok(Self::on(ListeningSocket::Tcp(tcp), local, acceptor))
    }

    /// Accepts on a Unix socket that already listens, for policies of this port.
    #[cfg(all(unix, feature = "server", feature = "client"))]
    pub(crate) fn unix(unix: tokio::net::UnixListener, port: u16, acceptor: Acceptor) -> Self {
        let local = super::socket::unaddressed(port);
        Self::on(ListeningSocket::Unix(unix), local, acceptor)
    }

    fn on(socket: ListeningSocket, local: SocketAddr, acceptor: Acceptor) -> Self {
        let limits = Limits::default();
        Self {
            socket,
            local,
            acceptor,
            stats: Arc::default(),
            observer: RefusalObserver::default(),
            handshakes: JoinSet::new(),
            admission: Admission::new(limits),
            open: permits(limits.connections),
            timeouts: None,
            permit: None,
            waiting: None,
            is_full: false,
            pause: None,
            limits,
        }
    }

    /// Bounds the number of handshakes and connections.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.admission.bound(limits);
        self.open = permits(limits.connections);
        self.limits = limits;
        self
    }

    /// Addresses of load balancers and gateways, which open connections ahead of need.
    /// [`Limits::silent_per_source`] does not apply to them.
    #[must_use]
    pub fn load_balancers(mut self, ranges: impl IntoIterator<Item = Cidr>) -> Self {
        self.admission.exempt(ranges.into_iter().collect());
        self
    }

    /// Lets this function know of each connection that is refused.
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    #[must_use]
    pub(crate) fn observed_by(mut self, observer: RefusalObserver) -> Self {
        self.observer = observer;
        self
    }

    /// Its connections speak HTTP, and their server keeps no time limits: each connection keeps
    /// these itself. Without this, as for other protocols and for servers with their own limits,
    /// only handshakes are bounded in time.
    #[must_use]
    pub fn http_timeouts(mut self, timeouts: HttpTimeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// The address it listens on; the unspecified one for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where it listens, for log lines: an address, or the path of a Unix socket.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn place(&self) -> String {
        match self.socket.path() {
            Some(path) => format!("unix:{}", path.display()),
            None => self.local.to_string(),
        }
    }

    /// The counters of its handshakes, for metrics. They outlive the listener.
    #[must_use]
    pub fn stats(&self) -> Arc<HandshakeStats> {
        Arc::clone(&self.stats)
    }

    /// The next connection whose handshake is done. May be dropped and called again without losing
    /// a connection.
    pub async fn accept(&mut self) -> Connection {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Self::accept), to be polled.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Connection> {
        loop {
            match self.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(connection)))) => return Poll::Ready(connection),
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            let incoming = ready!(self.poll_incoming(cx));
            self.handshakes.spawn(incoming.handshake());
        }
    }

    /// The next connection, before its handshake, which the caller makes. May be dropped and called
    /// again without losing a connection.
    pub async fn incoming(&mut self) -> Incoming {
        poll_fn(|cx| self.poll_incoming(cx)).await
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            ready!(self.poll_permit(cx));
            let (socket, remote) = ready!(self.poll_socket(cx));
            let Some((tickets, silent)) = self.admission.admit(remote.ip(), &self.open) else {
                self.stats.count(Some(Reason::TooManySilent));
                self.observer.refused(remote, Reason::TooManySilent);
                limited!(limit: REFUSED.get(Reason::TooManySilent), target: "tower_mesh::tls", DEBUG, %remote, local = %self.local, reason = %Reason::TooManySilent, "connection refused");
                continue;
            };
            if let Some(permit) = self.permit.take() {
                return Poll::Ready(Incoming {
                    socket,
                    remote,
                    listening: self.local,
                    acceptor: self.acceptor.clone(),
                    tickets,
                    silent,
                    timeouts: self.timeouts,
                    permit,
                    stats: Arc::clone(&self.stats),
                    observer: self.observer.clone(),
                });
            }
        }
    }

    /// Waits until one more connection may be open.
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.permit.is_none() {
            let open = &self.open;
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(Arc::clone(open).acquire_owned()));
            let polled = waiting.as_mut().poll(cx);
            if polled.is_pending() && !self.is_full {
                self.is_full = true;
                self.stats.full.fetch_add(1, Ordering::Relaxed);
                limited!(target: "tower_mesh::tls", WARN, local = %self.local, most = self.limits.connections, "no more connections may be open, the next ones wait");
            }
            // The semaphore is never closed, so this is a permit.
            self.permit = ready!(polled).ok();
            self.is_full = false;
            self.waiting = None;
        }
        Poll::Ready(())
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<(Socket, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.socket.poll_accept(cx)) {
                Ok(accepted) => return Poll::Ready(accepted),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: other connections must close first. An
                    // immediate retry would only use the processor.
                    limited!(WARN, %error, "cannot accept connections, pausing");
                    self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

debug_fields!(Listener { local, limits });

/// An error of one connection, caused by its client; the next may succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionAborted | ConnectionReset | Interrupted
    )
}

const PAUSE: Duration = Duration::from_millis(100);
