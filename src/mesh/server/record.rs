use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{Method, StatusCode, response};

use crate::context::{Exchange, Lent, UnderWay};
use crate::message::{End, LocalReply, OnEnd, ResponseFlags};
use crate::metrics::{ServerMetrics, ServerRecord};
use crate::propagation::{Entered, Outcome, ServerSpan, Span, Task};

/// Everything that waits for the end of one inbound request: its span, its metrics, and whoever observes.
///
/// Dropped before its end, it records a cancelled request: nothing that began is ever lost.
#[derive(Default)]
pub(super) struct Record(Option<Open>);

struct Open {
    method: Method,
    span: ServerSpan,
    metrics: ServerMetrics,
    measured: ServerRecord,
    /// Who is told of the end, and what of.
    observer: Option<(Observer, Exchange)>,
    started: Instant,
    status: Option<StatusCode>,
    flags: ResponseFlags,
    /// On its connection.
    under_way: Option<UnderWay>,
    /// Whether that may become another protocol's.
    may_upgrade: bool,
}

/// What is called at the end of each inbound request.
pub(crate) type Observer = Arc<dyn Fn(&Completed<'_>) + Send + Sync>;

/// An inbound request that has ended, allowed or refused: what an observer is told.
#[derive(Debug)]
#[non_exhaustive]
pub struct Completed<'a> {
    /// Who called, for whom, in which trace, and what policy decided, where it left a record.
    pub exchange: &'a Exchange,
    /// The request's method.
    pub method: &'a Method,
    /// The status of the response; `None` when there was none.
    pub status: Option<StatusCode>,
    /// How its body ended.
    pub end: End,
    /// Why the response is not simply the application's.
    pub flags: ResponseFlags,
    /// From the first byte of the request's head to the last of the response.
    pub duration: std::time::Duration,
}

impl Record {
    pub(super) fn new(
        method: Method,
        span: ServerSpan,
        metrics: ServerMetrics,
        measured: ServerRecord,
        observer: Option<(Observer, Exchange)>,
        started: Instant,
        (under_way, may_upgrade): (Option<UnderWay>, bool),
    ) -> Self {
        Self(Some(Open {
            method,
            span,
            metrics,
            measured,
            observer,
            started,
            status: None,
            flags: ResponseFlags::none(),
            under_way,
            may_upgrade,
        }))
    }

    /// A layer answers in the application's place.
    pub(super) fn refused(&mut self, reply: &LocalReply) {
        if let Some(open) = &mut self.0 {
            if let Some(exchange) = open.span.task().exchange() {
                exchange.set_details(Arc::clone(reply.details()));
            }
            open.flags = reply.response_flags();
            open.measured.add_flags(reply.response_flags());
        }
    }

    /// Enters the request's task, for a poll of the application.
    pub(super) fn enter(&mut self) -> Option<Entered<'_>> {
        Some(self.0.as_mut()?.span.task().enter())
    }

    /// Enters the request's task, for the drop of what the application made.
    pub(super) fn enter_drop(&mut self) -> Option<Lent<'_>> {
        self.0.as_mut()?.span.task().enter_drop()
    }

    /// The response head is known: adds what the caller should see of it.
    pub(super) fn answered(&mut self, response: &mut response::Parts) -> Task {
        let Some(open) = &mut self.0 else {
            return Task::default();
        };
        open.status = Some(response.status);
        // RFC 9110 §7.8; CONNECT is refused. HTTP/2 has neither (RFC 9113 §8.6), whatever an application answers.
        if open.may_upgrade && response.status == StatusCode::SWITCHING_PROTOCOLS {
            open.under_way.iter_mut().for_each(UnderWay::upgraded);
        }
        open.metrics.answer(&mut open.measured, response);
        open.span.respond(response)
    }

    pub(super) fn method(&self) -> Method {
        self.0
            .as_ref()
            .map(|open| open.method.clone())
            .unwrap_or_default()
    }

    /// The request has ended. Only the first word counts.
    pub(super) fn end(&mut self, end: End) {
        let Some(open) = self.0.take() else {
            return;
        };
        let now = Instant::now();
        let flags = end.flags(open.flags);
        if open.span.is_recording() {
            let outcome = Outcome {
                status: open.status,
                grpc_status: end.grpc_status,
                flags,
                request_bytes: open.measured.request_bytes(),
                response_bytes: end.bytes,
                ..Outcome::default()
            };
            open.span.end(&outcome, SystemTime::now());
        }
        open.metrics.finish(open.measured, end, now);
        // Last, so that whoever is told finds span and metrics in place.
        if let Some((observer, exchange)) = &open.observer {
            observer(&Completed {
                exchange,
                method: &open.method,
                status: open.status,
                end,
                flags,
                duration: now.duration_since(open.started),
            });
        }
    }
}

impl OnEnd for Record {
    fn on_messages(&mut self, messages: u64) {
        if let Some(open) = &mut self.0 {
            open.metrics
                .progress(&mut open.measured, messages, Instant::now());
        }
    }

    fn on_end(mut self, end: End) {
        self.end(end);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(End::cancelled());
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}
