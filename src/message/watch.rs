use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode, Version, response};

use super::{End, ResponseFlags};
use crate::context::{Exchange, Peer};

/// What watches one exchange, inbound or outbound, from its request to its end: a span, a series of
/// metrics, an access log. A [`Record`](super::Record) takes the steps.
///
/// Several watches are one struct that passes each step on to its fields.
///
/// # Panics in a watch
///
/// A [`Record`](super::Record) contains a panic of [`ended`](Self::ended). A struct of several
/// watches contains those of its fields itself (see [`contained`](super::contained)), so that a
/// panic of one does not cost the others their end. A panic of another step is one of the request.
pub trait Watch {
    /// Runs one poll of the service, or of the body of its response: a watch that makes its
    /// exchange the current one does it here.
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// As [`within`](Self::within), for the drop of a future or body. The thread may be about to
    /// end, so that its thread-locals are gone.
    fn dropping(&mut self, drop: impl FnOnce()) {
        drop();
    }

    /// The head of the response is known, and may still be changed.
    fn answered(&mut self, head: &mut response::Parts) {
        let _ = head;
    }

    /// The body of a gRPC response has brought so many messages by now. The clock is read by the
    /// watches that need it.
    fn progress(&mut self, messages: u64) {
        let _ = messages;
    }

    /// The exchange has ended. Called exactly once, often from a `Drop`.
    fn ended(&mut self, report: &Report<'_>);
}

/// Which way an exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A request that this workload serves.
    Inbound,
    /// A call that this workload makes.
    Outbound,
}

/// What is known of an exchange at its end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// Whether the request came in or went out.
    pub direction: Direction,
    /// Inbound: the facts of the request: caller, claims, trace, decision of policy. Outbound:
    /// those of the request during which the call was made, if it was made during one.
    pub exchange: Option<&'a Exchange>,
    /// The other end of the connection: the caller, or the server that was called, as far as it is
    /// known.
    pub peer: Option<&'a Peer>,
    /// The request's method.
    pub method: &'a Method,
    /// The version of HTTP: of the request, or of the response where a call got one.
    pub version: Version,
    /// The host, and the port where it is named, that the request is for; `None` where nothing
    /// [keeps](super::Record::with_target) it.
    pub authority: Option<&'a str>,
    /// The path of the request, without its query, which may hold tokens; `None` where nothing
    /// keeps it. Of an inbound request, [`Exchange::target`] has what may be shown of the query.
    pub path: Option<&'a str>,
    /// The status of the response; `None` when there was none.
    pub status: Option<StatusCode>,
    /// The status that the exchange counts with in metrics: that of the response, or what Envoy
    /// would have answered to a call that failed without one.
    pub counted_status: Option<StatusCode>,
    /// How the body of the response ended, and how large it was.
    pub end: End,
    /// Why the response is not simply the application's.
    pub flags: ResponseFlags,
    /// The bytes that were read of the request's body.
    pub request_bytes: u64,
    /// From the head of the request to the end of the response.
    pub duration: Duration,
    /// When it ended.
    pub ended: Instant,
}

impl Report<'_> {
    /// When the exchange began, as the clock of the system shows it now.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        let now = SystemTime::now();
        let ago = self.ended.elapsed().saturating_add(self.duration);
        now.checked_sub(ago).unwrap_or(now)
    }

    /// The bytes of the response's body that were sent, or read.
    #[must_use]
    pub fn response_bytes(&self) -> u64 {
        self.end.bytes
    }
}
