//! A connection that a listener accepted: its bytes, its peer, and when it is cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::context::Peer;
use crate::tls::reason::Reason;

use super::deadline::Deadline;
use super::http_timeouts::HttpTimer;
use super::silence::Silent;
use super::socket::Socket;
use super::stats::HandshakeStats;
use super::stream::Stream;

/// A connection that a [`Listener`](crate::tls::Listener) accepted: its bytes and its peer.
///
/// It counts against [`Limits::connections`](crate::tls::Limits::connections) until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream<Socket>,
    peer: Peer,
    stats: Arc<HandshakeStats>,
    deadline: Option<Deadline>,
    /// Until the client has sent something.
    silent: Option<Silent>,
    /// Where the server itself keeps no time limits.
    timer: Option<Box<HttpTimer>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// `silent` is for a client that has sent nothing yet. With a `timer` the connection cuts itself
    /// when its client takes too long.
    pub(in crate::tls) fn new(
        stream: Stream<Socket>,
        peer: Peer,
        permit: OwnedSemaphorePermit,
        stats: Arc<HandshakeStats>,
        silent: Option<Silent>,
        timer: Option<HttpTimer>,
    ) -> Self {
        Self {
            stream,
            peer,
            stats,
            deadline: None,
            silent,
            timer: timer.map(Box::new),
            _permit: permit,
        }
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection cuts itself when an identity on it stops being valid, when a certificate that
    /// it was made with expires, or when it is plaintext and its port no longer accepts that. This
    /// is for servers that do not watch a [`Lifetime`](crate::tls::Lifetime), such as axum's and
    /// tonic's. Rotations and age do not cut it, because such a server could not finish its
    /// requests first.
    #[must_use]
    pub fn cut_when_no_longer_good(mut self) -> Self {
        self.deadline = Some(Deadline::new(self.stream.lifetime().while_good()));
        self
    }

    /// The stream, or an error when the connection must be cut. Called before each read and write:
    /// a client that always has bytes to read, or that reads nothing while a body is full, would
    /// not notice otherwise.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Stream<Socket>>> {
        let stats = &self.stats;
        if let Some(deadline) = &mut self.deadline
            && deadline
                .poll_cut(cx, |ended| stats.count_ended(ended.reason))
                .is_ready()
        {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.stream))
    }

    /// Bytes came from the client.
    fn heard(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.silent = None;
        if let Some(timer) = &mut self.timer {
            timer.heard(bytes);
        }
    }

    /// Its client has been let in, and need not say anything any more.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn may_be_silent(&mut self) {
        self.silent = None;
    }

    /// No bytes have come. Ready when the client has used up its time.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(silent) = &mut self.silent
            && silent.poll_over(cx).is_ready()
        {
            self.stats.count(Some(Reason::Timeout));
            return Poll::Ready(());
        }
        match &mut self.timer {
            Some(timer) => timer.poll_overdue(cx),
            None => Poll::Pending,
        }
    }

    fn written<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        match &mut self.timer {
            Some(timer) => timer.written(polled, cx),
            None => polled,
        }
    }

    fn wrote(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(1..)), Some(timer)) = (&polled, &mut self.timer) {
            timer.wrote();
        }
        self.written(polled, cx)
    }

    /// The stream underneath.
    #[must_use]
    pub fn stream(&self) -> &Stream<Socket> {
        &self.stream
    }

    /// The counters of its listener.
    #[must_use]
    pub fn stats(&self) -> &Arc<HandshakeStats> {
        &self.stats
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stats.count_closed();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.in_time(cx)?.poll_read(cx, buf);
        if polled.is_pending() {
            let overdue = self.poll_overdue(cx);
            return overdue.map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let (_, heard) = buf.filled().split_at(before);
        self.heard(heard);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.in_time(cx)?.poll_write(cx, buf);
        self.wrote(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.in_time(cx)?.poll_write_vectored(cx, bufs);
        self.wrote(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.in_time(cx)?.poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(polled, cx)
    }
}
