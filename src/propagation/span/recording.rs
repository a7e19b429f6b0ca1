use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, response};

use super::conventions::{Operation, is_broken};
use super::finished::{FinishedSpan, SpanKind, SpanSink};
use super::outcome::Outcome;
use super::tags::Tags;
use crate::context::{Exchange, Peer, SpanId, TraceContext, TraceId};
use crate::message::is_grpc;

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

    /// Reads the head of the response.
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

    /// Reads the head of the response to a call of ours, where the conventions ask for it.
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
