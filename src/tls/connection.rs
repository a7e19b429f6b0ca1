use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::context::Peer;

use super::deadline::Deadline;
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
    deadline: Option<Deadline>,
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
            deadline: None,
            _place: place,
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Cuts the connection itself once an identity on it is no longer good, a certificate ends that it was made with, or it is plaintext and its port no
    /// longer takes that: for servers that nobody tells of a [`Lifetime`](super::Lifetime), such as axum's and tonic's. Rotations and age do
    /// not end it, as nothing could be finished first.
    #[must_use]
    pub fn cut_when_no_longer_good(mut self) -> Self {
        self.deadline = Some(Deadline::of(self.stream.lifetime().while_good()));
        self
    }

    /// Its stream, unless the connection is to be cut. Asked before each read and write: who has bytes to read, or reads none while a body is
    /// full, would otherwise never learn of it.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Stream<TcpStream>>> {
        let tally = &self.tally;
        if let Some(deadline) = &mut self.deadline
            && deadline
                .poll_cut(cx, |ended| tally.count_ended(ended.reason))
                .is_ready()
        {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.stream))
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
        self.in_time(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
