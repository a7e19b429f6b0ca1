//! The access logs of one direction, and the line of one exchange.

#[cfg(all(feature = "server", feature = "client"))]
pub(super) mod connection;

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, Request, request, response};
use http_body::Body;

#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
use super::format::Measured;
use super::format::{Call, Facts, Kept};
use super::log::AccessLog;
use super::sink::Sink;
use crate::context::{Exchange, TraceContext};
#[cfg(all(feature = "server", feature = "client"))]
use crate::matcher::path_redaction::PathRedaction;
use crate::message::{
    Begin, CountingBody, Direction, Record, Report, Watch, WatchLayer, contained,
};

/// The access logs of the requests that a service serves, or of the calls that a client makes. Cheap
/// to clone.
///
/// A mesh makes them of its [options](crate::mesh::TelemetryOptions::access_log). Without a mesh,
/// [`AccessLogLayer`] writes them. On a server, put it outside of the layers that may refuse, and
/// inside of [`PeerLayer`](crate::context::PeerLayer).
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use tower_mesh::access_log::{AccessLog, AccessLogLayer, AccessLogs};
///
/// let app: Router = Router::new()
///     .route("/patients", get(|| async { "none" }))
///     .layer(AccessLogLayer::new(AccessLogs::server([AccessLog::text()])));
/// # drop(app);
/// ```
#[derive(Clone, Default)]
pub struct AccessLogs(Option<Arc<Set>>);

/// Writes one line for each exchange of a service, whatever becomes of it: see [`AccessLogs`].
pub type AccessLogLayer = WatchLayer<AccessLogs>;

struct Set {
    direction: Direction,
    logs: Vec<AccessLog>,
    /// All that the formats read.
    request_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
    trailers: Vec<HeaderName>,
    /// The SPIFFE id of the workload's own certificate.
    own: Option<Arc<str>>,
    /// Set if something else reads the facts, too: also sizes and labels that metrics know.
    #[cfg_attr(
        not(all(feature = "server", feature = "client", feature = "cel")),
        allow(dead_code, reason = "only expressions read them")
    )]
    is_read: bool,
}

/// What reads the facts of exchanges besides the logs' formats.
#[cfg(all(feature = "server", feature = "client"))]
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    /// Headers of requests.
    pub(crate) request_headers: Vec<HeaderName>,
    /// Headers of responses.
    pub(crate) response_headers: Vec<HeaderName>,
    /// Whether there is any reader.
    pub(crate) is_any: bool,
}

impl AccessLogs {
    /// Logs of the requests that a service serves. Those of the [side](super::Side) `Client` are
    /// left out.
    #[must_use]
    pub fn server(logs: impl IntoIterator<Item = AccessLog>) -> Self {
        Self::new(Direction::Inbound, logs)
    }

    /// Logs of the calls that a client makes. Those of the side `Server` are left out.
    #[must_use]
    pub fn client(logs: impl IntoIterator<Item = AccessLog>) -> Self {
        Self::new(Direction::Outbound, logs)
    }

    /// The logs of a direction, and what else reads the facts of its exchanges.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn read_by(
        direction: Direction,
        logs: impl IntoIterator<Item = AccessLog>,
        readers: Readers,
        own: Option<Arc<str>>,
    ) -> Self {
        let mut made = Self::new(direction, logs);
        // INVARIANT: nobody else has it yet.
        if let Some(set) = made.0.as_mut().and_then(Arc::get_mut) {
            set.own = own;
        }
        if readers.is_any {
            let set = made
                .0
                .get_or_insert_with(|| Arc::new(Set::empty(direction)));
            // INVARIANT: nobody else has it yet.
            if let Some(set) = Arc::get_mut(set) {
                let (requests, responses) = (&mut set.request_headers, &mut set.response_headers);
                requests.extend(readers.request_headers);
                responses.extend(readers.response_headers);
                for names in [requests, responses] {
                    *names = without_twins(std::mem::take(names).into_iter());
                }
                set.is_read = true;
            }
        }
        made
    }

    fn new(direction: Direction, logs: impl IntoIterator<Item = AccessLog>) -> Self {
        let is_inbound = direction == Direction::Inbound;
        let logs = logs.into_iter().filter(|log| log.serves(is_inbound));
        let logs: Vec<_> = logs.map(AccessLog::opened).collect();
        if logs.is_empty() {
            return Self(None);
        }
        let formats = || logs.iter().map(AccessLog::headers);
        let request_headers = formats().flat_map(|format| format.request_headers.clone());
        let response_headers = formats().flat_map(|format| format.response_headers.clone());
        let trailers = formats().flat_map(|format| format.trailers.clone());
        Self(Some(Arc::new(Set {
            direction,
            trailers: without_twins(trailers),
            own: None,
            request_headers: without_twins(request_headers),
            response_headers: without_twins(response_headers),
            logs,
            is_read: false,
        })))
    }

    /// What no log shows of paths.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn hidden<'a>(logs: impl IntoIterator<Item = &'a AccessLog>) -> PathRedaction {
        let mut hidden = PathRedaction::default();
        for log in logs {
            hidden.merge(log.redaction());
        }
        hidden
    }

    /// The same logs; none of them shows these parameters.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn without(mut logs: Vec<AccessLog>, redaction: &PathRedaction) -> Vec<AccessLog> {
        logs.iter_mut().for_each(|log| log.redact(redaction));
        logs
    }

    /// Whether each of its requests has an event, so that a refusal needs none besides.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn has_every_event(&self) -> bool {
        let mut logs = self.0.iter().flat_map(|set| &set.logs);
        logs.any(AccessLog::has_every_event)
    }

    /// Where the lines go.
    pub fn sinks(&self) -> impl Iterator<Item = &Sink> {
        let logs = self.0.iter().flat_map(|set| &set.logs);
        logs.filter_map(AccessLog::sink)
    }

    /// The line of an exchange that begins; `None` if there is no log. The head is that which the
    /// service gets.
    pub(crate) fn open(
        &self,
        head: &request::Parts,
        began: impl FnOnce() -> SystemTime,
    ) -> Option<Box<Line>> {
        let set = self.0.as_ref()?;
        Some(Box::new(Line {
            kept: Kept::new(head, began(), &set.request_headers),
            set: Arc::clone(set),
        }))
    }
}

#[cfg(all(feature = "server", feature = "client"))]
impl Set {
    const fn empty(direction: Direction) -> Self {
        Self {
            direction,
            logs: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            trailers: Vec::new(),
            own: None,
            is_read: false,
        }
    }
}

fn without_twins(names: impl Iterator<Item = HeaderName>) -> Vec<HeaderName> {
    let mut names: Vec<_> = names.collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

impl fmt::Debug for AccessLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs = self.0.as_ref().map_or(0, |set| set.logs.len());
        f.debug_tuple("AccessLogs").field(&logs).finish()
    }
}

/// The line of one exchange that has not ended, in each log.
#[must_use = "an exchange without its line leaves none"]
pub(crate) struct Line {
    set: Arc<Set>,
    kept: Kept,
}

impl Line {
    /// Nothing could be read of the request's head.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the servers of a mesh")
    )]
    pub(crate) fn head_was_unreadable(&mut self) {
        self.kept.is_unreadable = true;
    }

    /// Whether something besides the logs reads the facts.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn is_read(&self) -> bool {
        self.set.is_read
    }

    /// Adds what metrics know.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn measured(&mut self, measured: Measured) {
        self.kept.measured = Some(Box::new(measured));
    }

    /// What is known at the end.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn facts<'a>(&'a self, report: &'a Report<'a>) -> Facts<'a> {
        static NOTHING: std::sync::LazyLock<PathRedaction> =
            std::sync::LazyLock::new(PathRedaction::default);
        Facts {
            report,
            kept: &self.kept,
            redaction: &NOTHING,
            own: self.set.own.as_deref(),
        }
    }

    /// Where the call goes.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the client of a mesh")
    )]
    pub(crate) fn calls(&mut self, call: Call) {
        self.kept.call = call;
    }

    /// The call has this place in its trace.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the client of a mesh")
    )]
    pub(crate) fn traces(&mut self, trace: &TraceContext) {
        self.kept.trace = Some(Box::new(trace.clone()));
    }
}

impl Watch for Line {
    fn answered(&mut self, head: &mut response::Parts) {
        let now = Instant::now();
        let names = &self.set.response_headers;
        self.kept.answered(&head.headers, names, now);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.kept.trailed(trailers, &self.set.trailers);
    }

    fn ended(&mut self, report: &Report<'_>) {
        for log in &self.set.logs {
            let facts = Facts {
                report,
                kept: &self.kept,
                redaction: log.redaction(),
                own: self.set.own.as_deref(),
            };
            contained(|| log.write(facts));
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// The line of an exchange that a layer watches.
#[derive(Debug)]
pub struct LayerLine(Option<Box<Line>>);

impl Watch for LayerLine {
    fn answered(&mut self, head: &mut response::Parts) {
        if let Self(Some(line)) = self {
            line.answered(head);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Self(Some(line)) = self {
            line.trailers(trailers);
        }
    }

    fn ended(&mut self, report: &Report<'_>) {
        if let Self(Some(line)) = self {
            line.ended(report);
        }
    }
}

impl Begin for AccessLogs {
    type Watch = LayerLine;
    type Body<B: Body> = CountingBody<B>;

    fn begin<B: Body>(&self, request: Request<B>) -> (Request<CountingBody<B>>, Record<LayerLine>) {
        let now = Instant::now();
        let (request, counted) = CountingBody::wrap(request);
        let (mut head, body) = request.into_parts();
        let direction = self.0.as_ref().map(|set| set.direction);
        let direction = direction.unwrap_or(Direction::Inbound);
        let exchange = match direction {
            Direction::Inbound => Some(Exchange::from_request(&mut head)),
            Direction::Outbound => None,
        };
        let line = LayerLine(self.open(&head, SystemTime::now));
        if line.0.is_some() {
            counted.time_end();
        }
        let record = Record::new(direction, &head, exchange, counted, now, line);
        (Request::from_parts(head, body), record)
    }
}
