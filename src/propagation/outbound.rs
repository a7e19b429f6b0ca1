use std::time::SystemTime;

use http::{request, response};

use super::config::Propagation;
use super::format::headers::{DECORATOR, Incoming, X_REQUEST_ID, text};
use super::ids::random;
use super::open::root;
use super::side::{Side, Span};
use super::span::attach::{ActiveSpan, active_span};
use super::span::finished::SpanKind;
use super::span::outcome::Outcome;
use super::span::recording::{Beginning, Recording};
use super::span::target::authority;
use super::task::Task;
use crate::context::{self, Exchange, Peer, TraceContext};

impl Propagation {
    /// Opens the client span of a call: the step of the client layer.
    ///
    /// Its parent is the span of the application that is active here, else the server span of the
    /// exchange; with neither, a trace begins. The context goes into the request's headers, over
    /// whatever the application copied there.
    ///
    /// A call that is made outside the task of its request (from a spawned task, say) belongs to a
    /// trace if its extensions hold a
    /// [`TraceContext`]. The clock `now` is read only for a span that is recorded.
    pub fn begin_call(
        &self,
        request: &mut request::Parts,
        exchange: Option<&Exchange>,
        now: impl FnOnce() -> SystemTime,
    ) -> ClientSpan {
        let settings = self.settings();
        let told = request.extensions.get::<TraceContext>();
        let inbound = told.or_else(|| exchange.and_then(Exchange::trace));
        let incoming = Incoming::scan(&request.headers, &[]);
        let seen = incoming.seen;
        let (mut trace, new_id) = match inbound {
            Some(inbound) => (inbound.child(random::span_id()), None),
            None => root(settings, incoming.request_id),
        };
        if let Some(active) = active_span() {
            trace = under(trace, &active);
        }
        let headers = &mut request.headers;
        let new_id = trace.write(headers, seen, trace.marks.formats, new_id);
        if new_id.is_some() {
            trace.request_id = new_id;
        }
        if let Some(id) = &trace.request_id {
            headers.insert(X_REQUEST_ID, id.clone());
        }
        trace.write_carried(headers);
        let beginning = Beginning {
            kind: SpanKind::Client,
            request,
            exchange,
            trace: &trace,
            link: None,
        };
        let name = || format!("egress {}", authority(request).unwrap_or("-")).into();
        let recording = settings.recorder.begin(beginning, name, now);
        ClientSpan {
            task: Task::new(None, &trace),
            trace: Some(trace),
            recording,
        }
    }
}

/// A client span that has begun: kept by the future of the call, then by the body of its response.
#[derive(Debug, Default)]
pub struct ClientSpan {
    task: Task,
    trace: Option<TraceContext>,
    recording: Recording,
}

impl ClientSpan {
    /// The context that was sent.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }
}

/// The side of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outbound;

impl Side for Outbound {
    type Span = ClientSpan;

    fn begin(propagation: &Propagation, request: &mut request::Parts) -> ClientSpan {
        let exchange = context::current();
        propagation.begin_call(request, exchange.as_ref(), SystemTime::now)
    }
}

impl Span for ClientSpan {
    fn task(&mut self) -> &mut Task {
        &mut self.task
    }

    fn is_recording(&self) -> bool {
        self.recording.is_on()
    }

    /// Takes the header out in which the server names the operation.
    fn respond(&mut self, response: &mut response::Parts) -> Task {
        let headers = &mut response.headers;
        // Most servers outside the mesh name none, and a glance at the few names costs less than to
        // look a long one up.
        let is_named = headers.keys().any(|name| *name == DECORATOR);
        let operation = is_named.then(|| headers.remove(DECORATOR)).flatten();
        if self.recording.is_on() {
            if let Some(name) = operation.as_ref().and_then(text)
                && (1..=256).contains(&name.len())
            {
                self.recording.rename(name);
            }
            if let Some(peer) = response.extensions.get::<Peer>() {
                self.recording.peer(peer);
            }
            self.recording.respond(&response.headers);
            self.recording.answered(response);
        }
        std::mem::take(&mut self.task)
    }

    fn end(mut self, outcome: &Outcome, now: SystemTime) {
        self.recording.end(outcome, now);
    }
}

/// The same call under a span of the application, which may be of another trace.
fn under(mut call: TraceContext, active: &ActiveSpan) -> TraceContext {
    if call.trace_id != active.trace_id {
        call.trace_id = active.trace_id;
        call.leave_trace();
    }
    call.parent_span_id = Some(active.span_id);
    call.sampled = active.sampled;
    call
}
