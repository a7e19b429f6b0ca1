//! The trait that observes an exchange, and the report that it gets at the end.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode, Version, response};

#[cfg(all(feature = "server", feature = "client"))]
use super::CallProgress;
#[cfg(any(feature = "metrics", feature = "propagation"))]
use super::EndKind;
use super::{End, ResponseFlags};
use crate::context::{Exchange, Peer};

/// Observes one exchange, inbound or outbound, from its request to its end: a span, metrics or an
/// access log. A [`Record`](super::Record) calls its methods.
///
/// To combine several watches, write a struct that passes each step on to its fields.
///
/// # Panics in a watch
///
/// A [`Record`](super::Record) contains a panic in [`ended`](Self::ended). A struct of several
/// watches must contain the panics of its fields itself with [`contained`](super::contained), so
/// that the others still get the end. A panic in any other step is a panic of the request.
pub trait Watch {
    /// Runs one poll of the service, or of the response body. A watch that makes its exchange the
    /// current one does so here.
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// As [`within`](Self::within), for the drop of a future or a body. The thread may be ending,
    /// so its thread-locals may be gone.
    fn dropping(&mut self, drop: impl FnOnce()) {
        drop();
    }

    /// Called with the head of the response, which may still be changed.
    fn answered(&mut self, head: &mut response::Parts) {
        let _ = head;
    }

    /// Called when a gRPC response body has carried this many messages. While there is no response,
    /// called with 0 when the service was polled and messages of the request have come. A watch
    /// that needs the time reads the clock itself.
    fn progress(&mut self, messages: u64) {
        let _ = messages;
    }

    /// Called with the trailers of the response, if it has any, right before the end.
    fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// Called exactly once when the exchange has ended, often from a `Drop`.
    fn ended(&mut self, report: &Report<'_>);
}

/// The direction of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A request that this workload serves.
    Inbound,
    /// A call that this workload makes.
    Outbound,
}

/// What is known about an exchange at its end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// Whether the request came in or went out.
    pub direction: Direction,
    /// Inbound: the facts of the request, which are its caller, claims, trace and policy decision.
    /// Outbound: the facts of the request that was being handled when the call was made, if there
    /// was one.
    pub exchange: Option<&'a Exchange>,
    /// The other end of the connection, if it is known: the caller, or the server that was called,
    /// whether it answered or not.
    pub peer: Option<&'a Peer>,
    /// The address of the server of a call, also where there is no `peer`: outside the mesh, and
    /// where no connection was made.
    #[cfg_attr(
        not(any(feature = "access-log", feature = "propagation")),
        allow(dead_code, reason = "spans and logs show it")
    )]
    pub(crate) server_address: Option<SocketAddr>,
    /// How far a call of a mesh has come.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) progress: Option<&'a CallProgress>,
    /// The request's method.
    pub method: &'a Method,
    /// The HTTP version of the request or, for a call that got a response, of the response.
    pub version: Version,
    /// The host of the request, with the port if it is given; `None` unless the record
    /// [keeps](super::Record::with_target) it.
    pub authority: Option<&'a str>,
    /// The path of the request without its query, which may hold tokens; `None` unless the record
    /// keeps it. For an inbound request, [`Exchange::target`] has the part of the query that may be
    /// shown.
    pub path: Option<&'a str>,
    /// The status of the response; `None` if there was none.
    pub status: Option<StatusCode>,
    /// The status that spans, metrics and access logs show: the response's or, for a call that
    /// failed without a response, the status that Envoy would have answered with. To a gRPC call
    /// that is 200, and the [end](Self::end) has the gRPC status.
    pub counted_status: Option<StatusCode>,
    /// How the response body ended, and how many bytes it had.
    pub end: End,
    /// Why the response is not simply the application's.
    pub flags: ResponseFlags,
    /// The number of bytes that were read from the request's body.
    pub request_bytes: u64,
    /// The time from the request's head to the end of its body, if that was read, and is
    /// [noted](super::ByteCount::time_end).
    #[cfg(feature = "access-log")]
    pub(crate) request_took: Option<Duration>,
    /// The time from the request's head to the end of the response.
    pub duration: Duration,
    /// When the exchange ended.
    pub ended: Instant,
}

impl Report<'_> {
    /// When the exchange began, computed from the system clock as it is now.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        let now = SystemTime::now();
        let ago = self.ended.elapsed().saturating_add(self.duration);
        now.checked_sub(ago).unwrap_or(now)
    }

    /// Whether the body of a good response failed: by OpenTelemetry's conventions an error, which
    /// the status does not show.
    #[cfg(any(feature = "metrics", feature = "propagation"))]
    pub(crate) fn is_broken(&self) -> bool {
        let is_good = |status: StatusCode| !status.is_client_error() && !status.is_server_error();
        self.end.kind == EndKind::Failed
            && self.end.grpc_status.is_none()
            && self.status.is_some_and(is_good)
    }

    /// The number of bytes of the response body that were sent or read.
    #[must_use]
    pub fn response_bytes(&self) -> u64 {
        self.end.bytes
    }
}
