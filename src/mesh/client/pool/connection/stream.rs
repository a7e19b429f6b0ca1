//! The byte stream of one connection, which is cut when an identity on it is too old.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::retirement::{ConnectionFacts, Retired};
use crate::context::Peer;
use crate::log_limit::limited;
use crate::tls::{Deadline, HandshakeStats, Stream};

/// A connection to an upstream. It reports its protocol to the pool, and the peer to each response.
pub struct MeshStream {
    io: TokioIo<Stream<TcpStream>>,
    inside: Option<Inside>,
}

/// What a connection to a workload of the mesh has in addition.
struct Inside {
    peer: Peer,
    deadline: Deadline,
    retired: Arc<Retired>,
    stats: Arc<HandshakeStats>,
}

impl MeshStream {
    pub(super) fn inside(
        stream: Stream<TcpStream>,
        peer: Peer,
        stats: Arc<HandshakeStats>,
    ) -> Self {
        let deadline = Deadline::new(stream.lifetime());
        Self {
            io: TokioIo::new(stream),
            inside: Some(Inside {
                peer,
                deadline,
                retired: Arc::default(),
                stats,
            }),
        }
    }

    /// A connection to a host outside the mesh, which proves no mesh identity.
    pub(in crate::mesh) fn external(stream: Stream<TcpStream>) -> Self {
        Self {
            io: TokioIo::new(stream),
            inside: None,
        }
    }

    /// The peer that answers; `None` outside the mesh, where hosts have no mesh identity.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.inside.as_ref().map(|inside| &inside.peer)
    }

    /// What a pool records about this connection. It was made with this generation of our identity.
    pub(super) fn facts(&self, generation: u64) -> Arc<ConnectionFacts> {
        let inside = self.inside.as_ref();
        let retired = inside.map_or_else(Arc::default, |inside| Arc::clone(&inside.retired));
        let peer = self.peer().cloned();
        Arc::new(ConnectionFacts::new(peer, generation, retired))
    }

    /// The underlying stream, unless the connection must be cut. This is checked before each read
    /// and write, because a client may do either without ever waiting.
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
    /// Ready when the connection must be cut. Earlier, it marks the connection as one that takes no
    /// more requests.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (stats, retired) = (&self.stats, &self.retired);
        self.deadline.poll_cut(cx, |ended| {
            stats.count_ended(ended.reason);
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
