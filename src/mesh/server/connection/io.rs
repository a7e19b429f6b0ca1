//! Closes a served connection whose client takes too long: to send a head, to send the next
//! request, or to read a response.
//!
//! The phase of a connection decides how long it may take. A read looks at it when there is nothing
//! to read:
//!
//! - *Opening*: nothing tells yet which version the client speaks. `head` runs since the connection
//!   was made, and covers HTTP/2's preface or HTTP/1's first head.
//! - *HTTP/1, head incomplete*: bytes of a request have come, and the service was not called yet
//!   (`begun` has not grown). `head` runs.
//! - *HTTP/1, between requests*: `idle` runs.
//! - *HTTP/1, request under way*: no limit for reads; the request's body has one of its own. A look
//!   now and then finds that the request has ended.
//! - *HTTP/2*: no limit for reads; hyper's pings find clients that are gone.
//!
//! One `limit` serves all phases; it begins when a read first waits in a phase. So a request costs
//! one look at the clock.
//!
//! `stalled` runs in every phase, while a write, flush or shutdown is pending, which polls it. A
//! shutdown then lingers, so that the client reads the last response before its own writes fail.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::limits::HttpLimits;
use super::linger::Linger;
use super::state::ConnectionState;
use crate::context::Ending;
use crate::tls::TimeLimit;

/// A connection that fails with `TimedOut` when its client is too slow.
///
/// hyper's own timers do not suffice. They start with the first byte that shows the version, so a
/// client that sends nothing, or half of HTTP/2's preface, could hold a connection for ever. hyper
/// has one timer for HTTP/1, which covers both the time between requests and the time of a head,
/// though the two differ in length, and it makes a new one for every request; so it is switched to
/// one that never fires (`limits.rs`), and both times are kept here. hyper has no timer for a
/// client that does not read (security rule R-01).
///
/// hyper takes the version from the first bytes alone. When a client agreed on one version in its
/// handshake and speaks the other, we close the connection, as Envoy does (RFC 9113 §3.4).
///
/// An upgraded connection belongs to the application. When it must end, its reads and writes fail
/// here.
#[derive(Debug)]
pub(in crate::mesh) struct IoTimeouts<T> {
    io: T,
    /// How long a head may take to be complete.
    head: Duration,
    /// How long the client may take between two requests of HTTP/1.
    idle: Duration,
    /// How long the client may leave a write pending.
    unread: Duration,
    state: Arc<ConnectionState>,
    /// The version that ALPN chose; `None` without ALPN.
    agreed: Option<Version>,
    phase: Phase,
    /// Whether the last read brought something.
    has_read: bool,
    /// Of the phase.
    limit: TimeLimit,
    /// Of a pending write.
    stalled: TimeLimit,
    /// Set when our side of the connection is closed.
    lingers: Option<Linger>,
    /// Set on the first read or write after an upgrade.
    cut: Option<Box<Cut>>,
}

/// Both resolve when the connection is cut. Reads and writes have one each, as the application may
/// read and write in two tasks.
#[derive(Debug)]
struct Cut {
    reading: Pin<Box<WaitForCancellationFutureOwned>>,
    writing: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The version is not known yet; holds the bytes of HTTP/2's preface that have not come.
    Opening(&'static [u8]),
    /// HTTP/1. `Some(n)`: bytes of a request came when `n` requests had begun; `None`: no bytes of
    /// the next request have come, or a request is under way.
    Http1(Option<u32>),
    /// HTTP/2, which hyper watches by its pings.
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
            limit: TimeLimit::from_now(limits.head),
            head: limits.head,
            idle: limits.idle.max(limits.head),
            unread: limits.stalled,
            state,
            agreed,
            phase: Phase::Opening(PREFACE),
            has_read: false,
            stalled: TimeLimit::default(),
            lingers: None,
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
                    // Frees the timer: nothing else uses it on HTTP/2.
                    self.limit = TimeLimit::default();
                }
                _ => {
                    self.check_agreed(Version::HTTP_11)?;
                    // The time of its head has run since the connection was made.
                    self.phase = Phase::Http1(Some(self.state.begun()));
                }
            },
            // Bytes after an upgrade are no head; an upgrade keeps `open` above 0.
            Phase::Http1(at) if self.state.open() == 0 => {
                let begun = self.state.begun();
                if at != Some(begun) {
                    // The time of this head begins now.
                    self.limit.renew();
                    self.phase = Phase::Http1(Some(begun));
                }
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

    /// Called when there is nothing to read now: ready once the client has used up its time.
    fn waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Phase::Http1(Some(before)) = self.phase
            && before != self.state.begun()
        {
            // The service was called since, so the head was complete.
            self.phase = Phase::Http1(None);
            self.limit.renew();
        }
        let time = match self.phase {
            Phase::Http2 => return Poll::Pending,
            Phase::Http1(None) if self.state.open() > 0 => {
                // hyper does not always read again when the request ends, so this looks again.
                self.limit.look_again(self.idle, cx);
                return Poll::Pending;
            }
            Phase::Http1(None) => self.idle,
            Phase::Opening(_) | Phase::Http1(Some(_)) => self.head,
        };
        self.limit.poll(time, cx)
    }

    /// Fails once an upgraded connection was cut. Called before each read and write, as a side that
    /// always has bytes to read would otherwise not notice.
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

    /// Called when our side is about to be closed. On HTTP/2 that waits for the streams, unless the
    /// connection fails: because of what was read last, or, if nothing was, because its client has
    /// answered no ping. The streams end before the connection does, and must know why by then.
    fn notes_failure(&self) {
        if matches!(self.phase, Phase::Http2) && self.state.open() > 0 {
            self.state.ends(match self.has_read {
                true => Ending::Broken,
                false => Ending::Left,
            });
        }
    }

    fn written<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        let polled = self.stalled.of_write(polled, self.unread, cx);
        if let Poll::Ready(Err(error)) = &polled {
            self.state.ends(match error.kind() {
                io::ErrorKind::TimedOut => Ending::Slow,
                _ => Ending::Left,
            });
        }
        polled
    }
}

impl<T> Drop for IoTimeouts<T> {
    fn drop(&mut self) {
        self.state.drop_tunnel();
    }
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
        self.has_read = polled.is_ready();
        if polled.is_pending() {
            return self.waits(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let (_, heard) = buf.filled().split_at(before);
        if !heard.is_empty() {
            self.heard(heard)?;
        } else if buf.remaining() > 0 {
            // It has closed its side, or the connection is broken.
            self.state.ends(Ending::Left);
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for IoTimeouts<T> {
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
        // A shutdown would first write what the client does not read.
        self.check_cut(|cut| &mut cut.writing, cx)?;
        let this = &mut *self;
        if this.lingers.is_none() {
            this.notes_failure();
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.written(polled, cx))?;
            if this.state.tunnel().is_some() {
                // The application may go on reading.
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.lingers.get_or_insert_with(Linger::begin);
        linger.poll(&mut this.io, cx)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::context::Peer;

    async fn read(io: &mut IoTimeouts<tokio::io::DuplexStream>) -> io::Result<usize> {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut buffer)).await?;
        Ok(buffer.filled().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_late_has_its_full_time() {
        let address = "192.0.2.1:1".parse().unwrap();
        let state = Arc::new(ConnectionState::new(Peer::plaintext(address, address)));
        let limits = HttpLimits::default();
        let (mut client, io) = tokio::io::duplex(64);
        let mut io = IoTimeouts::new(io, None, &limits, Arc::clone(&state));
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut io).await.unwrap(), 18);
        state.begin();
        state.finish();
        let second = Duration::from_secs(1);
        let late = async {
            tokio::time::sleep(limits.idle - second).await;
            client.write_all(b"G").await.unwrap();
        };
        let (heard, ()) = tokio::join!(read(&mut io), late);
        assert_eq!(heard.unwrap(), 1);
        let begun = tokio::time::Instant::now();
        let error = read(&mut io).await.unwrap_err();
        let took = begun.elapsed();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            took >= limits.head && took < limits.head + second,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_we_closed_still_takes_what_its_client_writes() {
        let address = "192.0.2.1:1".parse().unwrap();
        for client_leaves in [true, false] {
            let state = Arc::new(ConnectionState::new(Peer::plaintext(address, address)));
            let (mut client, io) = tokio::io::duplex(64);
            let mut io = IoTimeouts::new(io, None, &HttpLimits::default(), state);
            let begun = tokio::time::Instant::now();
            let closing = tokio::spawn(async move {
                io.write_all(b"the last response").await?;
                io.shutdown().await
            });
            let mut response = Vec::new();
            client.read_to_end(&mut response).await.unwrap();
            assert_eq!(response, b"the last response");
            // More than the duplex holds: somebody must read it.
            client.write_all(&[b'x'; 1000]).await.unwrap();
            if client_leaves {
                drop(client);
                closing.await.unwrap().unwrap();
                assert!(begun.elapsed() < Duration::from_millis(10));
            } else {
                closing.await.unwrap().unwrap();
                let took = begun.elapsed();
                assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2));
            }
        }
    }

    /// hyper may be told that a request has ended by nothing that makes it read.
    #[tokio::test(start_paused = true)]
    async fn a_client_is_idle_though_nobody_reads_when_its_request_ends() {
        let address = "192.0.2.1:1".parse().unwrap();
        let state = Arc::new(ConnectionState::new(Peer::plaintext(address, address)));
        let limits = HttpLimits::default();
        let (mut client, io) = tokio::io::duplex(64);
        let mut io = IoTimeouts::new(io, None, &limits, Arc::clone(&state));
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut io).await.unwrap(), 18);
        state.begin();
        // A task of its own, which nothing wakes when the request ends.
        let reading = tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            (read(&mut io).await, begun.elapsed())
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        state.finish();
        let read = tokio::time::timeout(Duration::from_secs(3600), reading).await;
        let (read, took) = read.expect("its time never ends").unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(took > limits.idle && took < 3 * limits.idle, "{took:?}");
    }
}
