use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower_service::Service;

use super::connect_error::{ConnectError, Failure, Kind};
use super::external_host::OutsideUpstream;
use super::failures::Failures;
use super::retired::Ends;
use super::upstreams::{MeshUpstream, Reach, Upstreams, bare};
use crate::context::Peer;
use crate::log_limit::limited;
use crate::tls::{
    Connector, Deadline, Destination, HandshakeStats, Protocol, Stream, outbound_sni,
};

/// Connects to the upstreams of a [`Mesh`](crate::Mesh), for clients of your own: [`Mesh::connector`](crate::Mesh::connector).
///
/// A tower service from a URI to a connection, as `hyper_util`'s client and tonic's `Endpoint::connect_with_connector` take it. A host that is not configured
/// is an error. Each connection ends, as [`Lifetimes`](crate::tls::Lifetimes) say, some time after an identity on it was replaced or ended.
#[derive(Clone, Debug)]
pub struct MeshConnector {
    pub(in crate::mesh) connector: Connector,
    pub(in crate::mesh) upstreams: Arc<Upstreams>,
    pub(in crate::mesh) protocol: Protocol,
    /// Whose turn it is among an upstream's addresses.
    pub(in crate::mesh) turn: Arc<AtomicUsize>,
    pub(in crate::mesh) ends: Arc<Ends>,
    pub(in crate::mesh) failures: Arc<Failures>,
    pub(in crate::mesh) timeout: Duration,
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
        let reach = self.upstreams.find(&uri).cloned();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let connector = self.clone();
        Box::pin(async move {
            let connected = match reach {
                None => Err(connector.upstreams.unknown(&uri).into()),
                Some(Reach::Mesh(upstream)) => connector.inside(&upstream, &uri, turn).await,
                Some(Reach::Outside(upstream)) => connector.outside(&upstream, &uri, turn).await,
            };
            connected.map_err(|failure| {
                let authority = uri.authority().map_or("", Authority::as_str);
                let error = ConnectError::new(authority, failure);
                connector.failures.tell(authority, &error);
                error
            })
        })
    }
}

impl MeshConnector {
    async fn inside(
        &self,
        upstream: &MeshUpstream,
        uri: &Uri,
        turn: usize,
    ) -> Result<MeshStream, Failure> {
        let sni = match bare_host(uri).parse::<IpAddr>() {
            // An address is no server name (RFC 6066 §3); none is sent.
            Ok(address) => address.to_string(),
            Err(_) => outbound_sni(&upstream.service, port(uri)),
        };
        let accepted = upstream.accepted.clone();
        let destination = Destination::accepting(accepted, &sni, self.protocol)?;
        let mut failure = None;
        for address in in_turn(&upstream.addresses(), turn) {
            match self.connector.connect(address, &destination).await {
                Ok((stream, peer)) => {
                    let ends = Arc::clone(&self.ends);
                    return Ok(MeshStream::inside(
                        stream,
                        peer,
                        ends,
                        self.connector.stats(),
                    ));
                }
                Err(error) => failure = Some(Failure::at(address, error)),
            }
        }
        // An upstream without any address has names, and DNS knows none of them.
        Err(failure.unwrap_or_else(|| Failure::unresolved(upstream.names())))
    }

    async fn outside(
        &self,
        upstream: &OutsideUpstream,
        uri: &Uri,
        turn: usize,
    ) -> Result<MeshStream, Failure> {
        let host = bare_host(uri);
        let addresses = if upstream.addresses.is_empty() {
            let port = upstream.port(uri);
            let found = timeout(self.timeout, lookup_host((host, port))).await;
            let found = found.unwrap_or_else(|_| Err(timed_out()));
            found
                .map_err(|error| Failure::lookup(host, error))?
                .collect()
        } else {
            upstream.addresses.to_vec()
        };
        let mut failure = None;
        for address in in_turn(&addresses, turn) {
            let connected = match upstream.connector(self.protocol) {
                Some(connector) => {
                    let connector = connector.clone().timeout(self.timeout);
                    connector.connect(address, host).await.map_err(Kind::from)
                }
                None => self.in_plaintext(address).await.map_err(Kind::from),
            };
            match connected {
                Ok(stream) => return Ok(MeshStream::outside(stream)),
                Err(error) => failure = Some(Failure::at(address, error)),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::unresolved(host.to_owned())))
    }

    async fn in_plaintext(&self, address: SocketAddr) -> io::Result<Stream<TcpStream>> {
        let connecting = timeout(self.timeout, TcpStream::connect(address));
        let stream = connecting.await.unwrap_or_else(|_| Err(timed_out()))?;
        stream.set_nodelay(true)?;
        Ok(Stream::unprotected(stream))
    }
}

/// The host, without the brackets around an IPv6 address.
fn bare_host(uri: &Uri) -> &str {
    bare(uri.host().unwrap_or_default())
}

/// The port that is called.
fn port(uri: &Uri) -> u16 {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(default)
}

/// All of them once, beginning with whose turn it is.
fn in_turn(addresses: &[SocketAddr], turn: usize) -> impl Iterator<Item = SocketAddr> {
    let first = turn.checked_rem(addresses.len()).unwrap_or(0);
    let order = addresses.iter().cycle().skip(first);
    order.take(addresses.len()).copied()
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// A connection to an upstream; tells the pool its protocol and each response who answered.
pub struct MeshStream {
    io: TokioIo<Stream<TcpStream>>,
    inside: Option<Inside>,
}

/// Of a connection to a workload of the mesh.
struct Inside {
    peer: Peer,
    deadline: Deadline,
    ends: Arc<Ends>,
    tally: Arc<HandshakeStats>,
}

impl MeshStream {
    fn inside(
        stream: Stream<TcpStream>,
        peer: Peer,
        ends: Arc<Ends>,
        tally: Arc<HandshakeStats>,
    ) -> Self {
        let deadline = Deadline::new(stream.lifetime());
        Self {
            io: TokioIo::new(stream),
            inside: Some(Inside {
                peer,
                deadline,
                ends,
                tally,
            }),
        }
    }

    fn outside(stream: Stream<TcpStream>) -> Self {
        Self {
            io: TokioIo::new(stream),
            inside: None,
        }
    }

    /// Who answers; `None` outside the mesh, where nobody has an identity.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.inside.as_ref().map(|inside| &inside.peer)
    }

    /// Its bytes, unless the connection is to be cut; asked before each read and write, as a client need not wait for either.
    fn in_time(
        &mut self,
        cx: &mut Context<'_>,
    ) -> io::Result<Pin<&mut TokioIo<Stream<TcpStream>>>> {
        if let Some(inside) = &mut self.inside
            && inside.poll_cut(cx).is_ready()
        {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.io))
    }
}

impl Inside {
    /// Ready when the connection must be cut; before, the pool that made it is told to take no new request.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (tally, ends) = (&self.tally, &self.ends);
        self.deadline.poll_cut(cx, |ended| {
            tally.count_ended(ended.reason);
            ends.tell();
            limited!(target: "tower_mesh::client", DEBUG, reason = %ended.reason, "draining a connection");
        })
    }
}

impl fmt::Debug for MeshStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshStream")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

impl Connection for MeshStream {
    fn connected(&self) -> Connected {
        let mut connected = Connected::new();
        if let Some(peer) = self.peer() {
            connected = connected.extra(peer.clone());
        }
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
    ) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_read(cx, buf)
    }
}

impl Write for MeshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write_vectored(cx, bufs)
    }
}
