use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::context::Peer;

use super::stream::Stream;
use super::tally::Tally;

/// A connection that a [`Listener`](super::Listener) accepted: bytes, and who is at the other end.
///
/// It counts against [`Limits::connections`](super::Limits::connections) until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream<TcpStream>,
    peer: Peer,
    tally: Arc<Tally>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(
        stream: Stream<TcpStream>,
        peer: Peer,
        place: OwnedSemaphorePermit,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            stream,
            peer,
            tally,
            _place: place,
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The stream underneath.
    #[must_use]
    pub fn stream(&self) -> &Stream<TcpStream> {
        &self.stream
    }

    /// Where its listener counts.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tally.count_closed();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
