use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Request, request, response};
use http_body::Body;

use super::config::{Propagation, Settings};
use super::decide_trace::{Trust, open};
use super::format::headers::{
    DECORATOR, Incoming, Seen, X_FORWARDED_CLIENT_CERT, X_REQUEST_ID, text,
};
use super::share::{pass_on, share};
use super::span::finished::SpanKind;
use super::span::recording::{Beginning, Recording};
use super::task::Task;
use crate::context::{Caller, Exchange, Formats, TraceContext};
use crate::gate::strip;
use crate::message::{Begin, ByteCount, Direction, Record, Report, Watch};

impl Propagation {
    /// Opens the server span of a request: the step of the server layer.
    ///
    /// Reads the caller's context, makes ids, leaves the new context in the exchange and in the
    /// request's headers, where an application that copies headers by hand finds it. An exchange
    /// that is already traced, by the same layer further out, is left as it is. The clock `now` is
    /// read only for a span that is recorded.
    pub fn begin(
        &self,
        request: &mut request::Parts,
        exchange: &Exchange,
        now: impl FnOnce() -> SystemTime,
    ) -> ServerSpan {
        if exchange.trace().is_some() {
            return ServerSpan {
                task: Task::within(exchange.clone()),
                ..ServerSpan::default()
            };
        }
        let settings = self.settings();
        let options = settings.options.load();
        let options = &options.server;
        let trust = trust(exchange);
        let mut incoming = Incoming::scan(&request.headers, &settings.forward);
        if !exchange.keeps_client_cert() {
            // The application does not see it.
            let verbatim = &mut incoming.verbatim;
            verbatim.retain(|(name, _)| **name != X_FORWARDED_CLIENT_CERT);
        }
        if settings.optional != Formats::NONE {
            let baggage = (trust == Trust::Inside).then_some(settings.baggage);
            incoming.take(settings.optional, &request.headers, baggage);
        }
        let found = incoming.found;
        let is_forced =
            exchange.forces_trace() || incoming.has(Seen::FORCE_TRACE) && may_force(exchange);
        let path = exchange.path().unwrap_or_else(|| request.uri.path());
        let mut opened = open(
            settings,
            options,
            &incoming,
            &request.headers,
            trust,
            is_forced,
            path,
        );
        let is_shared = match options.reports_spans {
            true => share(settings, &incoming, &mut opened.trace),
            false => {
                pass_on(&incoming, &mut opened.trace);
                false
            }
        };
        let decorator = incoming.decorator.cloned();

        let headers = &mut request.headers;
        let new_id = opened
            .trace
            .write(headers, found, opened.formats, opened.id_written);
        if new_id.is_some() {
            opened.trace.request_id = new_id;
        }
        if trust == Trust::Outside {
            strip::envoys(headers);
        } else if decorator.is_some() {
            headers.remove(DECORATOR);
        }
        let beginning = Beginning {
            kind: SpanKind::Server,
            request,
            exchange: Some(exchange),
            trace: &opened.trace,
            link: opened.link,
            destination: None,
            custom_tags: &options.custom_tags,
            has_istio_tags: options.has_istio_tags,
        };
        let name = || {
            name(
                settings,
                request,
                exchange,
                decorator.as_ref().filter(|_| trust == Trust::Inside),
            )
        };
        let mut recording = match options.reports_spans {
            true => settings.recorder.begin(beginning, name, now),
            false => Recording::default(),
        };
        if is_shared {
            recording.share();
        }
        let span = ServerSpan {
            answer: Answer {
                tells_request_id: settings.returns_request_id || is_forced,
                operation: (trust == Trust::Inside
                    && decorator.is_none()
                    && has_identity(exchange))
                .then(|| operation(settings, exchange))
                .flatten(),
            },
            task: Task::of_request(exchange.clone(), &opened.trace, recording.open()),
            recording,
        };
        exchange.set_trace(opened.trace);
        span
    }
}

/// A server span that has begun. A [`Record`] takes it to its end, alone or as a field of a
/// [`Watch`] of your own; one that is dropped before is not exported.
#[derive(Debug, Default)]
pub struct ServerSpan {
    task: Task,
    recording: Recording,
    answer: Answer,
}

#[cfg(all(feature = "server", feature = "client"))]
impl ServerSpan {
    /// Whether its tags have texts that read the report.
    pub(crate) fn has_texts(&self) -> bool {
        self.recording.has_texts()
    }
}

/// What the response's headers get.
#[derive(Debug, Default)]
struct Answer {
    tells_request_id: bool,
    operation: Option<HeaderValue>,
}

impl Watch for ServerSpan {
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let _entered = self.task.enter();
        poll()
    }

    fn dropping(&mut self, drop: impl FnOnce()) {
        let _entered = self.task.enter_drop();
        drop();
    }

    /// Adds what the caller should see to the head of the response.
    fn answered(&mut self, head: &mut response::Parts) {
        self.recording.respond(&head.headers);
        if self.answer.tells_request_id
            && let Some(id) = self.task.trace().and_then(TraceContext::request_id)
        {
            head.headers.insert(X_REQUEST_ID, id.clone());
        }
        if let Some(operation) = self.answer.operation.take() {
            head.headers.insert(DECORATOR, operation);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.recording.trailers(trailers);
    }

    fn ended(&mut self, report: &Report<'_>) {
        self.recording.end(report);
    }
}

impl Begin for Propagation {
    type Watch = ServerSpan;
    type Body<B: Body> = B;

    fn begin<B: Body>(&self, request: Request<B>) -> (Request<B>, Record<ServerSpan>) {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::from_request(&mut head);
        let span = Self::begin(self, &mut head, &exchange, SystemTime::now);
        let (size, exchange) = (ByteCount::announced(&body), Some(exchange));
        let record = Record::new(Direction::Inbound, &head, exchange, size, now, span);
        (Request::from_parts(head, body), record)
    }
}

/// Only an acceptor of ours knows that a peer has no identity. Without a peer, the caller counts as
/// inside. So does the caller of a trusted proxy, if it has an identity.
fn trust(exchange: &Exchange) -> Trust {
    let peer_has_none = exchange
        .peer()
        .is_some_and(|peer| peer.spiffe_id().is_none());
    match peer_has_none && exchange.caller().and_then(Caller::certificate).is_none() {
        true => Trust::Outside,
        false => Trust::Inside,
    }
}

/// Whether the caller may force a trace: a peer that has proven an identity, or one that no acceptor
/// of ours has taken. What a trusted proxy says of its caller does not count here.
fn may_force(exchange: &Exchange) -> bool {
    exchange.peer().is_none() || has_identity(exchange)
}

fn has_identity(exchange: &Exchange) -> bool {
    exchange
        .peer()
        .is_some_and(|peer| peer.spiffe_id().is_some())
}

fn port(exchange: &Exchange) -> Option<u16> {
    exchange.peer().map(|peer| peer.local_addr().port())
}

fn operation(settings: &Settings, exchange: &Exchange) -> Option<HeaderValue> {
    let operation = settings.recorder.identity.operation(port(exchange))?;
    operation.value.clone()
}

/// The name that the caller gave to the operation, else our own.
fn name(
    settings: &Settings,
    request: &request::Parts,
    exchange: &Exchange,
    decorator: Option<&HeaderValue>,
) -> Arc<str> {
    let given = decorator
        .and_then(text)
        .filter(|name| (1..=256).contains(&name.len()));
    let own = settings.recorder.identity.operation(port(exchange));
    match (given, own) {
        (Some(given), _) => given.into(),
        (None, Some(own)) => Arc::clone(&own.name),
        (None, None) => settings.recorder.unnamed(request, SpanKind::Server),
    }
}
