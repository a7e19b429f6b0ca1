use std::fmt;
use std::time::SystemTime;

use http::{request, response};

use super::config::Propagation;
use super::span::outcome::Outcome;
use super::task::Task;
use crate::message::{End, OnEnd, ResponseFlags};

/// The side of an exchange that a [`SpanLayer`](super::SpanLayer) works on:
/// [`Inbound`](super::Inbound) or [`Outbound`](super::Outbound).
pub trait Side {
    /// The span of this side.
    type Span: Span;

    /// Opens the span of a request that comes in or goes out.
    fn begin(propagation: &Propagation, request: &mut request::Parts) -> Self::Span;
}

/// A span that has begun. The future of the exchange keeps it, then the body of its response.
///
/// The default is the span of an exchange that has none. A recorded span that is dropped before its
/// [`end`](Self::end) ends as a disconnect of the caller.
pub trait Span: fmt::Debug + Default {
    /// What to enter around each poll of the service inside.
    fn task(&mut self) -> &mut Task;

    /// Whether the span is recorded.
    #[must_use]
    fn is_recording(&self) -> bool;

    /// Reads and writes the head of the response. Returns the task, for the body to enter.
    fn respond(&mut self, response: &mut response::Parts) -> Task;

    /// Ends the span: exports it, if it is recorded.
    fn end(self, outcome: &Outcome, now: SystemTime);
}

/// A span that waits for the end of a body, and what is known of its exchange so far.
#[derive(Debug, Default)]
pub(super) struct Record<T> {
    span: T,
    outcome: Outcome,
}

impl<T: Span> Record<T> {
    pub(super) fn begin(span: T, request_bytes: u64) -> Self {
        let outcome = Outcome {
            request_bytes,
            ..Outcome::default()
        };
        Self { span, outcome }
    }

    pub(super) fn task(&mut self) -> &mut Task {
        self.span.task()
    }

    pub(super) fn respond(&mut self, response: &mut response::Parts) -> Task {
        self.outcome.status = Some(response.status);
        if let Some(flags) = response.extensions.get::<ResponseFlags>() {
            self.outcome.flags = *flags;
        }
        self.span.respond(response)
    }

    pub(super) fn end(mut self, end: &End) {
        // The clock is read for recorded spans only.
        if self.span.is_recording() {
            self.outcome.grpc_status = end.grpc_status;
            self.outcome.response_bytes = end.bytes;
            self.outcome.flags = end.flags(self.outcome.flags);
            self.span.end(&self.outcome, SystemTime::now());
        }
    }
}

impl<T: Span> OnEnd for Record<T> {
    fn on_end(self, end: End) {
        self.end(&end);
    }
}
