//! The bounds on what one HTTP client may make a server hold, and hyper's builder with them.

use std::time::Duration;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;

use super::never::Never;
use super::stream_timeout::StreamTimeout;
use crate::tls::HttpTimeouts;

/// Bounds on what a client may make a server hold over HTTP, and for how long (security rules R-01,
///
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// How long a request's head may take, from the start of the connection (or the first byte of
    /// HTTP/1's next request) to its last byte; 10 s by default. Also how long HTTP/2's preface may
    /// take.
    pub head: Duration,
    /// How long an HTTP/1 connection may be idle between two requests; at least
    /// [`head`](Self::head). 60 s by default.
    pub idle: Duration,
    /// How long a client may pause within a request's body, while the application waits for more of
    /// it; 30 s by default. Up to a hundred gRPC streams of each connection may pause for longer:
    /// see [`ListenerOptions::quiet_grpc`](crate::mesh::ListenerOptions::quiet_grpc).
    pub body_idle: Duration,
    /// How long a client may take nothing of a response that is ready to be sent; 60 s by default.
    /// Then an HTTP/2 stream is reset, and an HTTP/1 connection closed.
    pub stalled: Duration,
    /// The interval of pings to an HTTP/2 client, and how long it may take to answer one; 20 s by
    /// default.
    pub keep_alive: Duration,
    /// The most bytes of a request's head; 64 KiB by default, and at least 8 KiB on HTTP/1.
    pub head_bytes: u32,
    /// The most concurrent streams of an HTTP/2 connection; 100 by default.
    pub streams: u32,
    /// The most streams that an HTTP/2 client has reset and that we have not accepted yet; 20 by
    /// default. One more ends the connection.
    pub pending_resets: usize,
    /// The most streams, over the life of an HTTP/2 connection, that we reset for its client's
    /// mistakes; 1024 by default. One more ends the connection.
    pub faulty_streams: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
            keep_alive: Duration::from_secs(20),
            head_bytes: 64 * 1024,
            streams: 100,
            pending_resets: 20,
            faulty_streams: 1024,
        }
    }
}

impl HttpLimits {
    /// The timeouts that connections of [`Mesh::listen`](crate::Mesh::listen) keep themselves. Those
    /// send no pings: a client without a request gets the time in which it would have answered one.
    pub(in crate::mesh) fn timeouts(&self) -> HttpTimeouts {
        HttpTimeouts {
            head: self.head,
            idle: self.idle,
            body_idle: self.body_idle,
            silence: self.keep_alive.saturating_mul(2),
            stalled: self.stalled,
        }
    }

    pub(in crate::mesh) fn server(&self) -> auto::Builder<StreamTimeout> {
        let mut builder = auto::Builder::new(StreamTimeout::new(self.stalled));
        builder
            .http1()
            // hyper would make a timer for every request; `IoTimeouts` keeps these times with one
            // for each connection. Not switched off with `None`: hyper would then no longer look
            // for the next request once it has sent a response.
            .timer(Never)
            .header_read_timeout(Duration::ZERO)
            // hyper panics below 8 KiB.
            .max_buf_size(
                usize::try_from(self.head_bytes)
                    .unwrap_or(usize::MAX)
                    .max(8192),
            );
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_pending_accept_reset_streams(self.pending_resets)
            .max_local_error_reset_streams(self.faulty_streams)
            .max_header_list_size(self.head_bytes)
            .keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(self.keep_alive);
        builder
    }
}
