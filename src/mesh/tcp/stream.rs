//! A connection that carries no HTTP, as the application has it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::interrupt::{Half, Interrupt};
use super::record::{End, Record};
use crate::context::{ForwardedPeer, Peer};
use crate::message::Direction;
use crate::policy::Decision;
use crate::tls::{Connection, Stream};

/// A connection that carries no HTTP: what the handler of [`Mesh::serve_tcp`](crate::Mesh::serve_tcp)
/// gets, and what [`Mesh::connect_tcp`](crate::Mesh::connect_tcp) returns.
///
/// It is tokio's [`AsyncRead`] and [`AsyncWrite`]. `shutdown` ends what this side sends, and the
/// other direction goes on (a half close), as on a TCP stream. The bytes are counted, and every
/// connection is one line of the access log.
///
/// When the connection must end (an identity on it is no longer good, it is idle or has lasted too
/// long, the server's grace period is over), it is cut: reads and writes fail with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted).
///
/// A connection that a handler drops, returning `Ok`, is closed in order: what was written is sent,
/// then the end of TLS. Dropped otherwise, it ends without that, and the other end can tell that it
/// was cut short: a connection of `connect_tcp` calls `shutdown` before.
pub struct TcpConnection {
    /// `None` only while it is dropped.
    io: Option<Io>,
    /// What was read to judge the connection.
    first: Vec<u8>,
    record: Arc<Record>,
    interrupt: Interrupt,
    /// Gets the connection when it is dropped; `None` where no server waits for it.
    home: Option<oneshot::Sender<Io>>,
}

/// The bytes of a connection.
pub(super) enum Io {
    Inbound(Box<Connection>),
    Outbound(Stream<TcpStream>),
}

impl TcpConnection {
    /// A connection that came in, of which these bytes were read. `home` gets it back.
    pub(super) fn inbound(
        connection: Box<Connection>,
        first: Vec<u8>,
        record: &Arc<Record>,
        home: oneshot::Sender<Io>,
    ) -> Self {
        Self {
            io: Some(Io::Inbound(connection)),
            first,
            record: Arc::clone(record),
            interrupt: Interrupt::new(record.cut.clone().cancelled_owned()),
            home: Some(home),
        }
    }

    /// A connection that was made; it ends with `cut`.
    pub(super) fn outbound(
        stream: Stream<TcpStream>,
        record: Arc<Record>,
        cut: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            io: Some(Io::Outbound(stream)),
            first: Vec::new(),
            record,
            interrupt: Interrupt::new(cut),
            home: None,
        }
    }

    /// The other end of the connection. A host outside the mesh has no identity.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.record.peer
    }

    /// The caller for whom a trusted proxy speaks, if it has named one in a PROXY header.
    #[must_use]
    pub fn forwarded_peer(&self) -> Option<&ForwardedPeer> {
        self.record.exchange.as_ref()?.forwarded_peer()
    }

    /// What policy has said of the connection, where AUDIT rules or a dry run had something to say.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.record.exchange.as_ref()?.decision()
    }

    /// Resolves when the server shuts down: a handler that can end its connection in an orderly way
    /// has the grace period for it. It never resolves for a connection of `connect_tcp`.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + Unpin + 'static {
        Box::pin(self.record.draining.clone().cancelled_owned())
    }

    /// The stream, unless the connection must be cut. Asked before each read and write, because a
    /// user may do either without ever waiting.
    fn in_time(&mut self, half: Half, cx: &Context<'_>) -> io::Result<&mut Io> {
        match (self.interrupt.poll(half, cx), &mut self.io) {
            (Poll::Pending, Some(io)) => Ok(io),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &polled {
            Poll::Ready(Ok(bytes)) => self.record.wrote(*bytes),
            Poll::Ready(Err(_)) => self.record.broke(),
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        match (self.home.take(), self.io.take()) {
            (Some(home), Some(io)) => drop(home.send(io)),
            _ if self.record.direction == Direction::Outbound => self.record.end(&End::Done),
            _ => {}
        }
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.in_time(Half::Read, cx)?;
        let before = buf.filled().len();
        if !this.first.is_empty() {
            let now = this.first.len().min(buf.remaining());
            buf.put_slice(this.first.get(..now).unwrap_or_default());
            this.first.drain(..now);
            this.record.read(now);
            return Poll::Ready(Ok(()));
        }
        let io = this.in_time(Half::Read, cx)?;
        let polled = Pin::new(io).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) => this.record.read(buf.filled().len().saturating_sub(before)),
            Poll::Ready(Err(_)) => this.record.broke(),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let io = self.in_time(Half::Write, cx)?;
        let polled = Pin::new(io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = self.in_time(Half::Write, cx)?;
        let polled = Pin::new(io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = self.in_time(Half::Write, cx)?;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = self.in_time(Half::Write, cx)?;
        Pin::new(io).poll_shutdown(cx)
    }
}

/// Calls the same method of whichever stream there is.
macro_rules! with_io {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io {
            Io::Inbound($stream) => $call,
            Io::Outbound($stream) => $call,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with_io!(&mut *self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        with_io!(&mut *self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_io!(&mut *self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        with_io!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl fmt::Debug for TcpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnection")
            .field("peer", self.peer())
            .finish_non_exhaustive()
    }
}
