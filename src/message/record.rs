//! Follows one exchange from its request to its end, and reports the end to a [`Watch`].

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use http::uri::Authority;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, Version, header, request, response,
};
use http_body::Body;

#[cfg(all(feature = "server", feature = "client"))]
use super::CallProgress;
use super::contained::contained;
use super::watch::{Direction, Report, Watch};
use super::{
    ByteCount, End, EndKind, EosBody, GrpcStatus, LocalReply, OnEnd, ResponseFlags, is_grpc,
};
use crate::context::{Ending, Exchange, Peer};
use crate::matcher::authority::shown;

/// An exchange that has begun and has not ended, and the [`Watch`] that gets its end.
///
/// First the future of the exchange holds it, then the [body](Self::answer) of the response. The
/// watch gets one [`Report`], however the exchange ends: with its body, with an error, by a panic,
/// or by a drop, which counts as cancelled.
///
/// # Example
/// ```
/// use std::sync::mpsc;
/// use std::time::Instant;
///
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower_mesh::message::{ByteCount, Direction, Record, Report, Watch};
///
/// struct Log(mpsc::Sender<String>);
///
/// impl Watch for Log {
///     fn ended(&mut self, report: &Report<'_>) {
///         let _ = self.0.send(format!("{} {:?} {}", report.method, report.status, report.flags));
///     }
/// }
///
/// let (log, lines) = mpsc::channel();
/// let (head, ()) = Request::new(()).into_parts();
/// let now = Instant::now();
/// let record = Record::new(Direction::Inbound, &head, None, ByteCount::default(), now, Log(log));
/// let response = record.answer(Response::new(Full::<bytes::Bytes>::from("never read")));
/// drop(response);
/// assert_eq!(lines.iter().collect::<Vec<_>>(), ["GET Some(200) DC"]);
/// ```
pub struct Record<W: Watch>(Option<Open<W>>);

struct Open<W> {
    watch: W,
    direction: Direction,
    method: Method,
    version: Version,
    exchange: Option<Exchange>,
    /// The server that answered a call.
    peer: Option<Peer>,
    /// Names the server of a call that nobody answered.
    #[cfg(all(feature = "server", feature = "client"))]
    progress: Option<Arc<CallProgress>>,
    /// Whether it is a call of gRPC.
    is_grpc_call: bool,
    /// Boxed because it is large and, without observers, not kept.
    target: Option<Box<Target>>,
    request_body: ByteCount,
    started: Instant,
    status: Option<StatusCode>,
    /// The status that a call without a response counts with.
    failure: Option<StatusCode>,
    flags: ResponseFlags,
    is_over: bool,
}

/// What is kept of the request's target.
enum Target {
    Host(HeaderValue),
    Uri(Uri),
}

impl<W: Watch> Record<W> {
    /// Begins the record of a request with this head. `body` counts the bytes that are read from
    /// the request's body.
    pub fn new(
        direction: Direction,
        head: &request::Parts,
        exchange: Option<Exchange>,
        body: ByteCount,
        now: Instant,
        watch: W,
    ) -> Self {
        Self(Some(Open {
            watch,
            direction,
            method: head.method.clone(),
            version: head.version,
            exchange,
            peer: None,
            #[cfg(all(feature = "server", feature = "client"))]
            progress: None,
            is_grpc_call: direction == Direction::Outbound && is_grpc(&head.headers),
            target: None,
            request_body: body,
            started: now,
            status: None,
            failure: None,
            flags: ResponseFlags::none(),
            is_over: false,
        }))
    }

    /// When the request came; `None` once its end was reported.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn started(&self) -> Option<Instant> {
        self.0.as_ref().map(|open| open.started)
    }

    /// Follows the attempts of a call: without a response, they know the server.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn following(mut self, progress: Arc<CallProgress>) -> Self {
        if let Some(open) = &mut self.0 {
            open.progress = Some(progress);
        }
        self
    }

    /// The attempts that it follows.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn progress(&self) -> Option<&Arc<CallProgress>> {
        self.0.as_ref()?.progress.as_ref()
    }

    /// Keeps the authority and the path of the request for the [`Report`].
    #[must_use]
    pub fn with_target(mut self, head: &request::Parts) -> Self {
        if let Some(open) = &mut self.0 {
            let target = match (open.direction, head.headers.get(header::HOST)) {
                (Direction::Inbound, Some(host)) if head.uri.authority().is_none() => {
                    Target::Host(host.clone())
                }
                _ => Target::Uri(head.uri.clone()),
            };
            open.target = Some(Box::new(target));
        }
        self
    }

    /// The watch; `None` for the empty record that [`Default`] makes.
    pub fn watch(&mut self) -> Option<&mut W> {
        self.0.as_mut().map(|open| &mut open.watch)
    }

    /// The exchange that the record got.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        self.0.as_ref()?.exchange.as_ref()
    }

    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> Method {
        let open = self.0.as_ref();
        open.map_or_else(Method::default, |open| open.method.clone())
    }

    /// Records that a layer answers with this reply in place of the service.
    pub fn refused(&mut self, reply: &LocalReply) {
        if let Some(open) = &mut self.0 {
            if let Some(exchange) = &open.exchange {
                exchange.set_details(Arc::clone(reply.details()));
            }
            open.flags = open.flags.union(reply.response_flags());
        }
    }

    /// Records that the service was polled and has no response yet. The watch of a gRPC call whose
    /// request has brought messages learns of [progress](Watch::progress).
    pub fn waits(&mut self) {
        if let Some(open) = &mut self.0
            && open.request_body.messages() > 0
        {
            open.watch.progress(0);
        }
    }

    /// Records that there will be no response. `status` is the status that Envoy would have
    /// answered with if the call is not gRPC.
    pub fn failed(&mut self, status: StatusCode, flags: ResponseFlags) {
        if let Some(open) = &mut self.0 {
            open.failure = Some(status);
            open.flags = open.flags.union(flags);
        }
        self.end(End::failed());
    }

    /// Records the head of the response. Its extensions may hold [`ResponseFlags`] and, in the
    /// response to a call, the [`Peer`] that answered.
    pub fn answered(&mut self, head: &mut response::Parts) {
        if let Some(open) = &mut self.0 {
            open.status = Some(head.status);
            if let Some(flags) = head.extensions.get::<ResponseFlags>() {
                open.flags = open.flags.union(*flags);
            }
            if open.direction == Direction::Outbound {
                open.peer = head.extensions.get::<Peer>().cloned();
                open.version = head.version;
            }
            open.watch.answered(head);
        }
    }

    /// Attaches the record to the response: the exchange ends when the body ends.
    pub fn answer<B: Body>(mut self, response: Response<B>) -> Response<EosBody<B, Self>> {
        let (mut head, body) = response.into_parts();
        self.answered(&mut head);
        let method = self.method();
        let body = EosBody::new(body, head.status, &head.headers, &method, self);
        Response::from_parts(head, body)
    }

    /// Ends the exchange. Only the first call counts.
    pub fn end(&mut self, end: End) {
        let Some(open) = &mut self.0 else {
            return;
        };
        if mem::replace(&mut open.is_over, true) {
            return;
        }
        let ended = Instant::now();
        let exchange = open.exchange.as_ref();
        let caller = || exchange.and_then(Exchange::peer);
        let (authority, path) = match open.target.as_deref() {
            None => (None, None),
            Some(Target::Host(host)) => (host.to_str().ok(), None),
            Some(Target::Uri(uri)) => (uri.authority().map(Authority::as_str), Some(uri.path())),
        };
        #[cfg(all(feature = "server", feature = "client"))]
        let server = open.progress.as_ref().and_then(|it| it.server());
        #[cfg(all(feature = "server", feature = "client"))]
        let (server_address, called) = match &server {
            Some(server) => (Some(server.remote), server.peer.as_ref()),
            None => (None, None),
        };
        #[cfg(not(all(feature = "server", feature = "client")))]
        let (server_address, called) = (None, None);
        let (peer, path) = match open.direction {
            Direction::Inbound => (caller(), exchange.and_then(Exchange::path).or(path)),
            Direction::Outbound => (open.peer.as_ref().or(called), path),
        };
        let (counted_status, end) = open.counted(end);
        let authority = authority.map(shown).filter(|shown| !shown.is_empty());
        let report = Report {
            direction: open.direction,
            exchange,
            peer,
            server_address,
            #[cfg(all(feature = "server", feature = "client"))]
            progress: open.progress.as_deref(),
            method: &open.method,
            version: open.version,
            authority,
            path,
            status: open.status,
            counted_status,
            end,
            flags: flags(open.direction, end, open.known_flags(), caller()),
            request_bytes: open.request_body.bytes(),
            #[cfg(feature = "access-log")]
            request_took: open.request_body.took(open.started),
            duration: ended.saturating_duration_since(open.started),
            ended,
        };
        let watch = &mut open.watch;
        contained(|| watch.ended(&report));
    }
}

impl<W: Watch> Open<W> {
    /// Those that were learned before the end.
    fn known_flags(&self) -> ResponseFlags {
        let known = self.flags.union(self.request_body.flags());
        #[cfg(all(feature = "server", feature = "client"))]
        if let Some((flag, _)) = self.progress.as_ref().and_then(|it| it.broken()) {
            return known.union(flag);
        }
        known
    }

    /// The status that counts. A call that failed without a response has the one that Envoy would
    /// have answered with: to gRPC it answers 200, and says in `grpc-status` why.
    fn counted(&self, mut end: End) -> (Option<StatusCode>, End) {
        let is_failed_call = self.direction == Direction::Outbound && end.kind == EndKind::Failed;
        if self.status.is_some() || !is_failed_call {
            return (self.status, end);
        }
        let status = self.failure.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        if !self.is_grpc_call {
            return (Some(status), end);
        }
        end.grpc_status = Some(GrpcStatus::from_http(status));
        (Some(StatusCode::OK), end)
    }
}

/// All flags of an exchange. A request that was dropped has the flag of what has ended its
/// connection, or its stream.
fn flags(
    direction: Direction,
    end: End,
    known: ResponseFlags,
    caller: Option<&Peer>,
) -> ResponseFlags {
    if direction == Direction::Outbound || end.kind != EndKind::Cancelled {
        return end.flags(known);
    }
    let ending = caller.map_or(Ending::Unwatched, |peer| peer.activity().ending());
    known.union(match ending {
        Ending::Unwatched | Ending::Left => ResponseFlags::DOWNSTREAM_DISCONNECT,
        Ending::Open => ResponseFlags::DOWNSTREAM_RESET,
        Ending::Slow => ResponseFlags::STREAM_IDLE_TIMEOUT,
        Ending::Aged => ResponseFlags::DURATION_TIMEOUT,
        Ending::Broken => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
    })
}

/// Polls and drops the body in the context of the request.
impl<W: Watch> OnEnd for Record<W> {
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        match &mut self.0 {
            Some(open) => open.watch.within(poll),
            None => poll(),
        }
    }

    fn dropping(&mut self, drop: impl FnOnce()) {
        match &mut self.0 {
            Some(open) => open.watch.dropping(drop),
            None => drop(),
        }
    }

    fn on_messages(&mut self, messages: u64) {
        if let Some(open) = &mut self.0 {
            open.watch.progress(messages);
        }
    }

    fn on_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(open) = &mut self.0 {
            open.watch.trailers(trailers);
        }
    }

    fn on_end(&mut self, end: End) {
        self.end(end);
    }
}

/// An empty record, which reports nothing.
impl<W: Watch> Default for Record<W> {
    fn default() -> Self {
        Self(None)
    }
}

impl<W: Watch> Drop for Record<W> {
    fn drop(&mut self) {
        self.end(End::cancelled());
    }
}

impl<W: Watch> fmt::Debug for Record<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
