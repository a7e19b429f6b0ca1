use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderValue, request, response};

use super::config::{Propagation, Settings};
use super::span::conventions::{Call, Operation};
use super::format::headers::{DECORATOR, Incoming, X_REQUEST_ID, text};
use super::side::{Side, Span};
use super::open::{Opened, Trust, open};
use super::format::outside::strip_outside;
use super::span::finished::SpanKind;
use super::span::outcome::Outcome;
use super::span::recording::{Recording, Started};
use super::span::tags::Tags;
use super::task::Task;
use crate::context::Exchange;
use crate::message::is_grpc;

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
        let recording = record(
            settings,
            request,
            exchange,
            &opened,
            decorator.as_ref(),
            now,
        );
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
        let exchange = Exchange::of_request(request);
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
    let operation = settings.identity.operation(port(exchange))?;
    operation.value.clone()
}

fn record(
    settings: &Settings,
    request: &request::Parts,
    exchange: &Exchange,
    opened: &Opened,
    decorator: Option<&HeaderValue>,
    now: impl FnOnce() -> SystemTime,
) -> Recording {
    let Some(sink) = settings.sink.as_ref().filter(|_| opened.trace.sampled) else {
        return Recording::none();
    };
    let told = decorator
        .filter(|_| trust(exchange) == Trust::Inside)
        .and_then(text)
        .filter(|name| (1..=256).contains(&name.len()));
    let own = settings.identity.operation(port(exchange));
    let name = match (told, own) {
        (Some(told), _) => told.into(),
        (None, Some(own)) => Arc::clone(&own.name),
        (None, None) => "ingress".into(),
    };
    let is_grpc = is_grpc(&request.headers);
    let mut tags = Tags::of(
        request,
        exchange.target().unwrap_or(&request.uri),
        &settings.identity,
        exchange.peer(),
        Some(exchange),
        opened.trace.request_id(),
        is_grpc,
    );
    if let Some(port) = port(exchange) {
        tags.upstream_cluster(&settings.identity.cluster(port));
    }
    let operation = settings.follows_conventions.then(|| {
        let call = Call {
            request,
            target: exchange.target().unwrap_or(&request.uri),
            kind: SpanKind::Server,
            exchange: Some(exchange),
            is_grpc,
        };
        tags.begun(call);
        Operation::of(call)
    });
    Recording::of(Started {
        sink: sink.clone(),
        name,
        kind: SpanKind::Server,
        parent_is_remote: opened.trace.parent_span_id.is_some(),
        trace: opened.trace.clone(),
        link: opened.link,
        start: now(),
        is_grpc,
        tags,
        exchange: Some(exchange.clone()),
        operation,
    })
}
