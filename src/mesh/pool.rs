use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use super::ClientBody;
use super::upstream::{Upstream, Upstreams};
use crate::context::Peer;
use crate::tls::{
    Connector, Credentials, Destination, HandshakeError, Protocol, Stream, outbound_sni,
};

/// The connections that the client keeps, of one identity.
///
/// A new identity or new roots mean a new pool: connections of the old one serve what they are serving, and nothing else.
#[derive(Debug)]
pub(super) struct Pools {
    current: ArcSwap<Pool>,
    credentials: Credentials,
    upstreams: Arc<Upstreams>,
}

#[derive(Debug)]
pub(super) struct Pool {
    generation: u64,
    pub(super) http1: Client<MeshConnector, ClientBody>,
    pub(super) http2: Client<MeshConnector, ClientBody>,
}

impl Pools {
    pub(super) fn new(credentials: Credentials, upstreams: Arc<Upstreams>) -> Self {
        let pool = Pool::new(&credentials, &upstreams);
        Self {
            current: ArcSwap::from_pointee(pool),
            credentials,
            upstreams,
        }
    }

    /// The pool of the current identity.
    pub(super) fn current(&self) -> Arc<Pool> {
        let pool = self.current.load();
        if pool.generation == self.credentials.generation() {
            return Arc::clone(&pool);
        }
        // Two requests may both come here: one pool more is made and forgotten.
        let fresh = Arc::new(Pool::new(&self.credentials, &self.upstreams));
        self.current.store(Arc::clone(&fresh));
        fresh
    }
}

impl Pool {
    fn new(credentials: &Credentials, upstreams: &Arc<Upstreams>) -> Self {
        // Read before the connectors are made: a pool is never taken for younger than it is.
        let generation = credentials.generation();
        let client = |protocol| {
            let connector = MeshConnector {
                connector: Connector::new(credentials.clone()),
                upstreams: Arc::clone(upstreams),
                protocol,
                turn: Arc::default(),
            };
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .http2_only(protocol == Protocol::Http2)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(KEEP_ALIVE)
                .build(connector)
        };
        Self {
            generation,
            http1: client(Protocol::Http1),
            http2: client(Protocol::Http2),
        }
    }
}

/// Connects to the upstream of a URI over mutual TLS; a host that is not configured is an error.
#[derive(Clone, Debug)]
pub(super) struct MeshConnector {
    connector: Connector,
    upstreams: Arc<Upstreams>,
    protocol: Protocol,
    /// Whose turn it is among an upstream's addresses.
    turn: Arc<AtomicUsize>,
}

impl Service<Uri> for MeshConnector {
    type Response = MeshStream;
    type Error = ConnectError;
    // Background work: one box per connection, none per request.
    type Future = Pin<Box<dyn Future<Output = Result<MeshStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let upstream = self.upstreams.find(&uri).cloned();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (connector, protocol) = (self.connector.clone(), self.protocol);
        Box::pin(async move {
            let upstream = upstream.ok_or(ConnectError::UnknownHost)?;
            let destination = destination(&upstream, &uri, protocol)?;
            let mut failure = ConnectError::UnknownHost;
            let order = upstream
                .addresses
                .iter()
                .cycle()
                .skip(turn % upstream.addresses.len());
            for address in order.take(upstream.addresses.len()) {
                match connector.connect(*address, &destination).await {
                    Ok((stream, peer)) => {
                        return Ok(MeshStream {
                            io: TokioIo::new(stream),
                            peer,
                        });
                    }
                    Err(error) => failure = error.into(),
                }
            }
            Err(failure)
        })
    }
}

fn destination(
    upstream: &Upstream,
    uri: &Uri,
    protocol: Protocol,
) -> Result<Destination, HandshakeError> {
    let port = uri.port_u16().unwrap_or(80);
    let sni = outbound_sni(&upstream.service, port);
    Destination::new(upstream.identities.iter().cloned(), &sni, protocol)
}

/// Why no connection to an upstream could be made.
#[derive(Debug)]
pub(super) enum ConnectError {
    UnknownHost,
    Handshake(HandshakeError),
}

impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost => f.write_str("no upstream is configured for this host"),
            Self::Handshake(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownHost => None,
            Self::Handshake(error) => error.source(),
        }
    }
}

/// A connection to an upstream; tells the pool its protocol and each response who answered.
pub(super) struct MeshStream {
    io: TokioIo<Stream<TcpStream>>,
    peer: Peer,
}

impl Connection for MeshStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.peer.clone());
        if self.io.inner().is_http2() {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for MeshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for MeshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
