use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, StatusCode, response};

use super::conventions::{Operation, is_broken};
use super::tags::Tags;
use crate::context::{Exchange, Peer, SpanId, TraceContext, TraceId};
use crate::message::{GrpcStatus, ResponseFlags, is_grpc};

/// Where the spans of recorded requests go.
///
/// With the feature `opentelemetry`, `OpenTelemetry` hands them to the application's own span processor.
pub trait SpanSink: fmt::Debug + Send + Sync + 'static {
    /// Takes a span that has ended. Called at the end of a body, often from a `Drop`: it must not panic and should not block.
    ///
    /// A tag that is a [`TagValue::Header`] shares the buffer that the request's head was read into: who keeps spans for long copies it.
    fn export(&self, span: FinishedSpan);
}

impl<S: SpanSink + ?Sized> SpanSink for Arc<S> {
    fn export(&self, span: FinishedSpan) {
        (**self).export(span);
    }
}

/// A server or client span that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FinishedSpan {
    /// The operation, by Istio's naming, or OpenTelemetry's where
    /// [`semantic_conventions`](crate::propagation::Propagation::semantic_conventions) are asked for.
    pub name: Arc<str>,
    /// Which side of the call it is.
    pub kind: SpanKind,
    /// Its ids and those of its parent.
    pub trace: TraceContext,
    /// Whether the parent is a span of another process.
    pub parent_is_remote: bool,
    /// A span that this trace does not continue but remembers.
    pub link: Option<(TraceId, SpanId)>,
    /// When the request came in or went out.
    pub start: SystemTime,
    /// When the body of the response ended.
    pub end: SystemTime,
    /// Whether it counts as an error in OpenTelemetry's sense.
    pub is_error: bool,
    /// Istio's tags, and then those of OpenTelemetry's conventions, if they are asked for.
    pub tags: Vec<(Cow<'static, str>, TagValue)>,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Of the service that was called.
    Server,
    /// Of the caller.
    Client,
}

/// The value of a tag: a text, however it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagValue {
    /// Known at compile time.
    Static(&'static str),
    /// The same for many spans.
    Shared(Arc<str>),
    /// As it stood in a header; nothing when that is no text.
    Header(HeaderValue),
    /// Of this span alone.
    Owned(String),
    /// A number, and the same as text: only OpenTelemetry's conventions have any.
    Number(i64, String),
}

impl TagValue {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
            Self::Header(value) => value.to_str().unwrap_or_default(),
            Self::Owned(text) | Self::Number(_, text) => text,
        }
    }
}

impl FinishedSpan {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|(tag, _)| tag == name)
            .map(|(_, value)| value.as_str())
    }
}

/// How an exchange went, as far as it is known when it ends.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The response's status; `None` when there was none.
    pub status: Option<StatusCode>,
    /// The gRPC status of a gRPC exchange.
    pub grpc_status: Option<GrpcStatus>,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// The bytes of the request's body.
    pub request_bytes: u64,
    /// The bytes of the response's body.
    pub response_bytes: u64,
}

impl Outcome {
    /// An exchange whose other end went away before it was answered.
    fn cancelled() -> Self {
        Self {
            flags: ResponseFlags::DOWNSTREAM_DISCONNECT,
            ..Self::default()
        }
    }

    /// The error tag and the status, by Envoy's table (`Errors` below).
    pub(in crate::propagation) fn errors(&self, kind: SpanKind, is_grpc: bool) -> Errors {
        let grpc = self.grpc_status.filter(|_| is_grpc).map(GrpcStatus::code);
        let (is_server_fault, is_refusal) = match (grpc, self.status) {
            (Some(code), _) => (GRPC_SERVER_FAULTS.contains(&code), code != 0),
            (None, Some(status)) => (status.is_server_error(), status.is_client_error()),
            (None, None) => (true, false),
        };
        Errors {
            tag: is_server_fault,
            status: is_server_fault || (is_refusal && kind == SpanKind::Client),
        }
    }
}

/// Whether a span gets the tag `error`, and whether its status is ERROR: a client counts refusals too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::propagation) struct Errors {
    pub(in crate::propagation) tag: bool,
    pub(in crate::propagation) status: bool,
}

/// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, as in Envoy.
const GRPC_SERVER_FAULTS: [u32; 7] = [2, 4, 8, 12, 13, 14, 15];

/// A span that is being recorded. It is exported once, at the latest when it is dropped.
#[derive(Debug, Default)]
pub(in crate::propagation) struct Recording(Option<Box<Started>>);

/// The one allocation of a recorded span besides its tags.
#[derive(Debug)]
pub(in crate::propagation) struct Started {
    pub(in crate::propagation) sink: Arc<dyn SpanSink>,
    pub(in crate::propagation) name: Arc<str>,
    pub(in crate::propagation) kind: SpanKind,
    pub(in crate::propagation) trace: TraceContext,
    pub(in crate::propagation) parent_is_remote: bool,
    pub(in crate::propagation) link: Option<(TraceId, SpanId)>,
    pub(in crate::propagation) start: SystemTime,
    pub(in crate::propagation) is_grpc: bool,
    pub(in crate::propagation) tags: Tags,
    /// Of the request that came in: what guards say of its target is known at the end.
    pub(in crate::propagation) exchange: Option<Exchange>,
    /// Where the span is to follow OpenTelemetry's conventions, too.
    pub(in crate::propagation) operation: Option<Operation>,
}

impl Recording {
    pub(in crate::propagation) const fn none() -> Self {
        Self(None)
    }

    pub(in crate::propagation) fn of(started: Started) -> Self {
        Self(Some(Box::new(started)))
    }

    pub(in crate::propagation) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(in crate::propagation) fn rename(&mut self, name: &str) {
        if let Some(started) = &mut self.0
            && started.operation.is_none()
        {
            started.name = name.into();
        }
    }

    /// Notes who answered.
    pub(in crate::propagation) fn peer(&mut self, peer: &Peer) {
        if let Some(started) = &mut self.0 {
            started.tags.peer(peer);
        }
    }

    /// Notes what the head of the response tells.
    pub(in crate::propagation) fn respond(&mut self, headers: &HeaderMap) {
        if let Some(started) = &mut self.0
            && started.is_grpc
        {
            started.tags.grpc_message(headers);
            if let Some(operation) = &mut started.operation {
                operation.is_answered = is_grpc(headers);
            }
        }
    }

    /// Notes what the head of the response to a call of ours tells, where the conventions ask for it.
    pub(in crate::propagation) fn answered(&mut self, response: &response::Parts) {
        if let Some(started) = &mut self.0
            && started.operation.is_some()
        {
            started.tags.answered(response);
        }
    }

    pub(in crate::propagation) fn end(&mut self, outcome: &Outcome, now: SystemTime) {
        let Some(started) = self.0.take() else {
            return;
        };
        let Started {
            sink,
            name,
            kind,
            trace,
            parent_is_remote,
            link,
            start,
            is_grpc,
            mut tags,
            exchange,
            operation,
        } = *started;
        if let Some(exchange) = &exchange {
            tags.hide(exchange);
        }
        let mut errors = outcome.errors(kind, is_grpc);
        tags.outcome(outcome, errors, is_grpc);
        errors.status |= operation.is_some() && is_broken(outcome);
        let name = match operation {
            None => name,
            Some(operation) => {
                let route = exchange.as_ref().and_then(Exchange::route);
                let has_method = operation.has_method(exchange.as_ref(), outcome, kind);
                tags.ended(&operation, route, outcome, errors, has_method);
                operation.name(route.map(|route| &**route), has_method)
            }
        };
        sink.export(FinishedSpan {
            name,
            kind,
            trace,
            parent_is_remote,
            link,
            start,
            // A clock that was set back must not make a span that ends before it starts.
            end: now.max(start),
            is_error: errors.status,
            tags: tags.into_inner(),
        });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_on() {
            self.end(&Outcome::cancelled(), SystemTime::now());
        }
    }
}
