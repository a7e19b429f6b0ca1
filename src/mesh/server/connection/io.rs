use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::limits::HttpLimits;
use super::state::ConnectionState;

/// A connection whose client must go on in time.
///
/// hyper's timers start with the first byte that tells the version; until then a client could say nothing, or half of HTTP/2's
/// preface, and be held for ever. Its one timer for HTTP/1 covers both the time between requests
/// and that of a request's head, which are of different length, and is made anew for each request;
/// so it is off, and both times are kept here. hyper has no timer for a client that reads nothing
/// (security rule R-01).
///
/// hyper also goes by the first bytes alone. A client that agreed on one version in its handshake and speaks the other is let go, as Envoy does
/// (RFC 9113 §3.4).
///
/// Upgraded, it belongs to the application, and is cut here when it must end.
#[derive(Debug)]
pub(in crate::mesh) struct IoTimeouts<T> {
    io: T,
    /// For a head to be whole.
    head: Duration,
    /// For HTTP/1's next request to begin.
    between: Duration,
    /// For the client to take what we have to send.
    unread: Duration,
    state: Arc<ConnectionState>,
    /// The version that ALPN settled, if it did.
    agreed: Option<Version>,
    phase: Phase,
    /// For the phase, while it has one.
    limit: Option<Pin<Box<Sleep>>>,
    /// Between two requests.
    idle: Option<Idle>,
    /// For the client to read something.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Of an upgraded connection.
    cut: Option<Box<Cut>>,
}

/// The time that HTTP/1 waits for the next request.
///
/// One timer serves all requests of a connection. It is not touched while requests come: once it
/// fires, it is set to the end of the wait that is then under way.
#[derive(Debug)]
struct Idle {
    /// The wait that follows so many requests.
    begun: u32,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Resolve when the connection is cut: for who reads and for who writes, which may be two tasks.
#[derive(Debug)]
struct Cut {
    reading: Pin<Box<WaitForCancellationFutureOwned>>,
    writing: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It is not told yet which version is spoken: what HTTP/2's preface still lacks.
    Opening(&'static [u8]),
    /// HTTP/1; with how many requests begun, bytes of another came.
    Http1(Option<u32>),
    /// Watched by hyper's pings.
    Http2,
}

impl<T> IoTimeouts<T> {
    pub(in crate::mesh) fn new(
        io: T,
        agreed: Option<Version>,
        limits: &HttpLimits,
        state: Arc<ConnectionState>,
    ) -> Self {
        Self {
            io,
            limit: Some(Box::pin(sleep(limits.head))),
            idle: None,
            head: limits.head,
            between: limits.idle.max(limits.head),
            unread: limits.stalled,
            state,
            agreed,
            phase: Phase::Opening(PREFACE),
            stalled: None,
            cut: None,
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.phase {
            Phase::Opening(missing) => match missing.strip_prefix(bytes) {
                Some(missing @ [_, ..]) => self.phase = Phase::Opening(missing),
                _ if bytes.starts_with(missing) => {
                    self.check_agreed(Version::HTTP_2)?;
                    self.phase = Phase::Http2;
                    self.state.speak_http2();
                    self.limit = None;
                }
                _ => {
                    self.check_agreed(Version::HTTP_11)?;
                    // The time for its head is running already.
                    self.phase = Phase::Http1(Some(self.state.begun()));
                }
            },
            // What comes after an upgrade, which stays open, is no head.
            Phase::Http1(_) if self.state.open() == 0 => {
                self.phase = Phase::Http1(Some(self.state.begun()));
            }
            Phase::Http1(_) | Phase::Http2 => {}
        }
        Ok(())
    }

    fn check_agreed(&self, spoken: Version) -> io::Result<()> {
        match self.agreed {
            Some(agreed) if agreed != spoken => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{spoken:?} spoken where ALPN settled on {agreed:?}"),
            )),
            _ => Ok(()),
        }
    }

    /// Nothing more to read for now: whether the client has had time enough.
    fn waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Phase::Http1(at) = self.phase
            && at != Some(self.state.begun())
        {
            // A request has begun since, so its head was whole.
            self.phase = Phase::Http1(None);
            self.limit = None;
            return self.waits_for_request(cx);
        }
        match self.phase {
            Phase::Http2 => Poll::Pending,
            Phase::Opening(_) | Phase::Http1(_) => expired(&mut self.limit, self.head, cx),
        }
    }

    /// No request is under way on HTTP/1, and none has begun to come: whether the wait is over.
    fn waits_for_request(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.open() > 0 {
            return Poll::Pending;
        }
        let (begun, between) = (self.state.begun(), self.between);
        let idle = self.idle.get_or_insert_with(|| Idle {
            begun,
            since: Instant::now(),
            timer: Box::pin(sleep(between)),
        });
        if idle.begun != begun {
            (idle.begun, idle.since) = (begun, Instant::now());
        }
        loop {
            ready!(idle.timer.as_mut().poll(cx));
            let end = idle.since + between;
            if end <= idle.timer.deadline() {
                return Poll::Ready(());
            }
            idle.timer.as_mut().reset(end);
        }
    }

    /// An error once an upgraded connection was cut. Asked before each read and write: who has bytes to read would otherwise never learn of it.
    fn check_cut(
        &mut self,
        which: impl FnOnce(&mut Cut) -> &mut Pin<Box<WaitForCancellationFutureOwned>>,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let Some(tunnel) = self.state.tunnel() else {
            return Ok(());
        };
        let cut = self.cut.get_or_insert_with(|| {
            let wait = || Box::pin(tunnel.cut.clone().cancelled_owned());
            Box::new(Cut {
                reading: wait(),
                writing: wait(),
            })
        });
        match which(cut).as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn written<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        expired(&mut self.stalled, self.unread, cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T> Drop for IoTimeouts<T> {
    fn drop(&mut self) {
        self.state.drop_tunnel();
    }
}

fn expired(limit: &mut Option<Pin<Box<Sleep>>>, time: Duration, cx: &mut Context<'_>) -> Poll<()> {
    let limit = limit.get_or_insert_with(|| Box::pin(sleep(time)));
    limit.as_mut().poll(cx)
}

impl<T: AsyncRead + Unpin> AsyncRead for IoTimeouts<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_cut(|cut| &mut cut.reading, cx)?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_pending() {
            return self.waits(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let (_, heard) = buf.filled().split_at(before);
        if !heard.is_empty() {
            self.heard(heard)?;
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for IoTimeouts<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(|cut| &mut cut.writing, cx)?;
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut(|cut| &mut cut.writing, cx)?;
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It would first write what the client does not read.
        self.check_cut(|cut| &mut cut.writing, cx)?;
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(|cut| &mut cut.writing, cx)?;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(polled, cx)
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
