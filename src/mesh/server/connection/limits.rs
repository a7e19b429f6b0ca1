use std::time::Duration;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;

use super::stream_timeout::StreamTimeout;
use crate::tls::HttpTimes;

/// What a client may make us hold over HTTP, and for how long (security rules ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// From the first byte of a connection, or of HTTP/1's next request, to the end of the request's head; also until HTTP/2's preface is
    /// whole. 10 s by default.
    pub head: Duration,
    /// Between two requests of an HTTP/1 connection; 60 s by default.
    pub idle: Duration,
    /// Between two pieces of a request's body that the application waits for; 30 s by default. A hundred streams of gRPC on each connection may be
    /// idle for longer: see [`ListenerOptions::quiet_grpc`](crate::mesh::ListenerOptions::quiet_grpc).
    pub body_idle: Duration,
    /// For the client to take what we have to send; 60 s by default. After that an HTTP/2 stream is reset, an HTTP/1 connection closed.
    pub stalled: Duration,
    /// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so; 20 s by default.
    pub keep_alive: Duration,
    /// The bytes of a request's head; 64 KiB by default.
    pub head_bytes: u32,
    /// Streams at once on an HTTP/2 connection; 100 by default.
    pub streams: u32,
    /// Streams that an HTTP/2 client reset before they were looked at, at once; 20 by default. One more ends the connection.
    pub pending_resets: usize,
    /// Streams that we reset for an HTTP/2 client's mistakes, in all; 1024 by default. One more ends the connection.
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
    /// What the connections of [`Mesh::listen`](crate::Mesh::listen) keep themselves. They send no pings: a client that asks for nothing has the
    /// time in which a ping would have been answered.
    pub(in crate::mesh) fn times(&self) -> HttpTimes {
        HttpTimes {
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
            // `IoTimeouts` watches over requests that do not come: hyper would make a timer for each,
            // and drop it as the request comes.
            .header_read_timeout(None)
            // hyper has no less.
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
