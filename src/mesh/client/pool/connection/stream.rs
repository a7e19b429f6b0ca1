//! The byte stream of one connection, which is cut when it or an identity on it is too old.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Version;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::retirement::{ConnectionFacts, Retired};
use crate::context::Peer;
use crate::log_limit::limited;
use crate::message::CalledServer;
use crate::tls::{Deadline, HandshakeStats, Lifetime, Stream};

/// A connection to an upstream. It reports its protocol to the pool, and the peer to each response.
pub struct MeshStream {
    io: TokioIo<Stream<TcpStream>>,
    peer: Option<Peer>,
    deadline: Deadline,
    retired: Arc<Retired>,
    /// Where the end of a connection to a workload of the mesh is counted.
    stats: Option<Arc<HandshakeStats>>,
}

impl MeshStream {
    /// A connection to a workload of the mesh, which has proven its identity.
    pub(super) fn inside(
        stream: Stream<TcpStream>,
        peer: Peer,
        stats: Arc<HandshakeStats>,
    ) -> Self {
        let lifetime = stream.lifetime();
        Self {
            peer: Some(peer),
            stats: Some(stats),
            ..Self::external(stream, lifetime)
        }
    }

    /// A connection to a host outside the mesh, which proves no mesh identity. It ends by its age.
    pub(in crate::mesh) fn external(stream: Stream<TcpStream>, lifetime: Lifetime) -> Self {
        Self {
            deadline: Deadline::new(lifetime),
            io: TokioIo::new(stream),
            peer: None,
            retired: Arc::default(),
            stats: None,
        }
    }

    /// The peer that answers; `None` outside the mesh, where hosts have no mesh identity.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The stream, its peer and where its end is counted, for a user who watches its lifetime.
    pub(in crate::mesh) fn into_parts(
        self,
    ) -> (Stream<TcpStream>, Option<Peer>, Option<Arc<HandshakeStats>>) {
        (self.io.into_inner(), self.peer, self.stats)
    }

    /// What a pool records about this connection. It was made with this generation of our identity.
    pub(super) fn facts(&self, generation: u64, version: Version) -> Arc<ConnectionFacts> {
        let retired = Arc::clone(&self.retired);
        Arc::new(ConnectionFacts::new(
            self.server(version),
            generation,
            retired,
        ))
    }

    /// The server, as reports name it.
    fn server(&self, version: Version) -> Option<CalledServer> {
        let peer = self.peer.clone();
        let (remote, local) = match &peer {
            Some(peer) => (peer.remote_addr(), Some(peer.local_addr())),
            None => {
                let tcp = self.io.inner().transport();
                (tcp.peer_addr().ok()?, tcp.local_addr().ok())
            }
        };
        Some(CalledServer {
            remote,
            local,
            version: Some(version),
            peer,
        })
    }

    /// The underlying stream, unless the connection must be cut. This is checked before each read
    /// and write, because a client may do either without ever waiting.
    fn in_time(
        &mut self,
        cx: &mut Context<'_>,
    ) -> io::Result<Pin<&mut TokioIo<Stream<TcpStream>>>> {
        match self.poll_cut(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.io)),
        }
    }

    /// Ready when the connection must be cut. Earlier, it marks the connection as one that takes no
    /// more requests.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (stats, retired) = (&self.stats, &self.retired);
        self.deadline.poll_cut(cx, |ended| {
            if let Some(stats) = stats {
                stats.count_ended(ended.reason);
            }
            retired.set();
            limited!(
                target: "tower_mesh::client",
                DEBUG,
                reason = %ended.reason,
                "draining a connection"
            );
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
