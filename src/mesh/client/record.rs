use std::fmt;
use std::time::{Instant, SystemTime};

use http::{StatusCode, response};

use super::error::ClientError;
use crate::context::Peer;
use crate::message::{End, OnEnd, ResponseFlags};
use crate::metrics::{ClientMetrics, ClientRecord};
use crate::propagation::{ClientSpan, Entered, Outcome, Span, Task};

/// Everything that waits for the end of one outbound call. Dropped before, it records a cancelled call.
#[derive(Default)]
pub(super) struct Record(Option<Open>);

struct Open {
    span: ClientSpan,
    metrics: ClientMetrics,
    measured: ClientRecord,
    status: Option<StatusCode>,
    flags: ResponseFlags,
}

impl Record {
    pub(super) fn new(span: ClientSpan, metrics: ClientMetrics, measured: ClientRecord) -> Self {
        Self(Some(Open {
            span,
            metrics,
            measured,
            status: None,
            flags: ResponseFlags::none(),
        }))
    }

    /// Enters the call's task, for a poll of the client inside.
    pub(super) fn enter(&mut self) -> Option<Entered<'_>> {
        Some(self.0.as_mut()?.span.task().enter())
    }

    /// The response head is here.
    pub(super) fn answered(&mut self, response: &mut response::Parts) -> Task {
        let Some(open) = &mut self.0 else {
            return Task::default();
        };
        open.status = Some(response.status);
        let peer = response.extensions.get::<Peer>().cloned();
        open.metrics
            .answer(&mut open.measured, response, peer.as_ref());
        open.span.respond(response)
    }

    /// There will be no response.
    pub(super) fn failed(mut self, error: &ClientError) {
        if let Some(open) = &mut self.0 {
            open.flags = error.flags();
            open.measured.fail(error.status(), error.flags());
        }
        self.end(End::failed());
    }

    fn end(&mut self, end: End) {
        let Some(open) = self.0.take() else {
            return;
        };
        if open.span.is_recording() {
            let outcome = Outcome {
                status: open.status,
                grpc_status: end.grpc_status,
                flags: end.flags(open.flags),
                request_bytes: open.measured.request_bytes(),
                response_bytes: end.bytes,
                ..Outcome::default()
            };
            open.span.end(&outcome, SystemTime::now());
        }
        open.metrics.finish(open.measured, end, Instant::now());
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
