use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that must begin to speak HTTP in time.
///
/// hyper's timers start with the first byte that tells the version; until then a client could say nothing, or half of HTTP/2's
/// preface, and be held for ever (security rule R-01).
#[derive(Debug)]
pub(super) struct Opening<T> {
    io: T,
    /// While it is not told yet which version is spoken.
    limit: Option<Pin<Box<Sleep>>>,
    /// What HTTP/2's preface still lacks.
    missing: &'static [u8],
}

impl<T> Opening<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            limit: Some(Box::pin(sleep(LIMIT))),
            missing: PREFACE,
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        match self.missing.strip_prefix(bytes) {
            Some(missing) if !missing.is_empty() => self.missing = missing,
            Some(_) | None => self.limit = None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(limit) = &mut self.limit else {
            return polled;
        };
        if polled.is_pending() {
            let limit = limit.as_mut().poll(cx);
            return limit.map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let (_, heard) = buf.filled().split_at(before);
        self.heard(heard);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

const LIMIT: Duration = Duration::from_secs(10);
/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
