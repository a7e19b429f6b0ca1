use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderValue, request, response};

use super::config::{Propagation, Settings};
use super::format::headers::{DECORATOR, Incoming, X_REQUEST_ID, text};
use super::format::outside::strip_outside;
use super::open::{Trust, open};
use super::side::{Side, Span};
use super::span::finished::SpanKind;
use super::span::outcome::Outcome;
use super::span::recording::{Beginning, Recording};
use super::task::Task;
use crate::context::Exchange;

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
        let trust = trust(exchange);
        let incoming = Incoming::scan(&request.headers, &settings.forward);
        let seen = incoming.seen;
        let mut opened = open(settings, &incoming, &request.headers, trust);
        let decorator = incoming.decorator.cloned();

        let headers = &mut request.headers;
        let new_id = opened
            .trace
            .write(headers, seen, opened.formats, opened.new_id);
        if new_id.is_some() {
            opened.trace.request_id = new_id;
        }
        if opened.has_new_request_id
            && let Some(id) = &opened.trace.request_id
        {
            headers.insert(X_REQUEST_ID, id.clone());
        }
        if trust == Trust::Outside {
            strip_outside(headers);
        } else if decorator.is_some() {
            headers.remove(DECORATOR);
        }
        let beginning = Beginning {
            kind: SpanKind::Server,
            request,
            exchange: Some(exchange),
            trace: &opened.trace,
            link: opened.link,
        };
        let name = || {
            name(
                settings,
                exchange,
                decorator.as_ref().filter(|_| trust == Trust::Inside),
            )
        };
        let recording = settings.recorder.begin(beginning, name, now);
        let span = ServerSpan {
            answer: Answer {
                request_id: (settings.returns_request_id || opened.was_forced)
                    .then(|| opened.trace.request_id.clone())
                    .flatten(),
                operation: (trust == Trust::Inside
                    && decorator.is_none()
                    && has_identity(exchange))
                .then(|| operation(settings, exchange))
                .flatten(),
            },
            task: Task::new(Some(exchange.clone()), &opened.trace),
            recording,
        };
        exchange.set_trace(opened.trace);
        span
    }
}

/// A server span that has begun: kept by the future of the request, then by the body of its
/// response.
///
/// When it is dropped without an end, it ends as the caller's disconnect.
#[derive(Debug, Default)]
pub struct ServerSpan {
    task: Task,
    recording: Recording,
    answer: Answer,
}

/// What the response's headers get.
#[derive(Debug, Default)]
struct Answer {
    request_id: Option<HeaderValue>,
    operation: Option<HeaderValue>,
}

/// The side of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inbound;

impl Side for Inbound {
    type Span = ServerSpan;

    fn begin(propagation: &Propagation, request: &mut request::Parts) -> ServerSpan {
        let exchange = Exchange::from_request(request);
        propagation.begin(request, &exchange, SystemTime::now)
    }
}

impl Span for ServerSpan {
    fn task(&mut self) -> &mut Task {
        &mut self.task
    }

    fn is_recording(&self) -> bool {
        self.recording.is_on()
    }

    /// Adds what the caller should see to the head of the response.
    fn respond(&mut self, response: &mut response::Parts) -> Task {
        if self.recording.is_on() {
            self.recording.respond(&response.headers);
        }
        if let Some(id) = self.answer.request_id.take() {
            response.headers.insert(X_REQUEST_ID, id);
        }
        if let Some(operation) = self.answer.operation.take() {
            response.headers.insert(DECORATOR, operation);
        }
        std::mem::take(&mut self.task)
    }

    fn end(mut self, outcome: &Outcome, now: SystemTime) {
        self.recording.end(outcome, now);
    }
}

/// Only an acceptor of ours knows that a peer has no identity. Without a peer, the caller counts as
/// inside.
fn trust(exchange: &Exchange) -> Trust {
    match exchange.peer() {
        Some(peer) if peer.spiffe_id().is_none() => Trust::Outside,
        Some(_) | None => Trust::Inside,
    }
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
fn name(settings: &Settings, exchange: &Exchange, decorator: Option<&HeaderValue>) -> Arc<str> {
    let given = decorator
        .and_then(text)
        .filter(|name| (1..=256).contains(&name.len()));
    let own = settings.recorder.identity.operation(port(exchange));
    match (given, own) {
        (Some(given), _) => given.into(),
        (None, Some(own)) => Arc::clone(&own.name),
        (None, None) => "ingress".into(),
    }
}
