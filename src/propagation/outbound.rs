use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Request, request, response};
use http_body::Body;

use super::config::Propagation;
use super::decide_trace::root;
use super::destination::Destination;
use super::format::headers::{DECORATOR, Incoming, text};
use super::format::inject::IdWritten;
use super::format::request_id;
use super::ids::random;
use super::span::attach::{ActiveSpan, active_span};
use super::span::finished::SpanKind;
use super::span::recording::{Beginning, Recording};
#[cfg(all(feature = "server", feature = "client"))]
use super::span::tries::attempt::Tries;
use super::span::tries::attempt::Try;
use super::task::Task;
use crate::context::{self, Exchange, Formats, Peer, TraceContext};
use crate::message::{Begin, ByteCount, Direction, Record, Report, Watch};

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
        self.begin_call_to(None, || true, request, exchange, now)
    }

    /// As [`begin_call`](Self::begin_call), where it is known whom the call goes to. Headers that
    /// may tell of the user are carried only to a server that `is_trusted` (rule H-18); it is asked
    /// only if there are such headers.
    pub(crate) fn begin_call_to(
        &self,
        destination: Option<&Destination>,
        is_trusted: impl FnOnce() -> bool,
        request: &mut request::Parts,
        exchange: Option<&Exchange>,
        now: impl FnOnce() -> SystemTime,
    ) -> ClientSpan {
        let settings = self.settings();
        let options = settings.options.load();
        let options = &options.client;
        let told = request.extensions.get::<TraceContext>();
        let inbound = told.or_else(|| exchange.and_then(Exchange::trace));
        let incoming = Incoming::scan(&request.headers, &[]);
        let found = incoming.found;
        let active = active_span();
        let (mut trace, new_id) = match inbound {
            Some(inbound) => (inbound.child(random::span_id()), None),
            None => {
                let told = active.as_ref().map(|active| active.sampled);
                root(settings, options, incoming.request_id, told)
            }
        };
        if let Some(active) = active {
            trace = under(trace, &active);
        }
        if !options.reports_spans
            && let Some(parent) = trace.parent_span_id.take()
        {
            // What is called becomes a child of the span that the call is made in.
            trace.span_id = parent;
            let own = inbound.filter(|inbound| inbound.span_id == parent);
            trace.parent_span_id = own.and_then(|inbound| inbound.parent_span_id);
        }
        let headers = &mut request.headers;
        let id_written = new_id.map_or(IdWritten::Own, IdWritten::New);
        let formats = match options.sends_context {
            true => trace.marks.formats,
            false => Formats::NONE,
        };
        let new_id = trace.write(headers, found, formats, id_written);
        if new_id.is_some() {
            trace.request_id = new_id;
        }
        trace.write_carried(headers, is_trusted);
        let operation = destination.and_then(|to| to.operation.as_ref());
        // The server reads it for a span that it records.
        if trace.sampled
            && let Some(value) = operation.and_then(|operation| operation.value.as_ref())
        {
            headers.insert(DECORATOR, value.clone());
        }
        let beginning = Beginning {
            kind: SpanKind::Client,
            request,
            exchange,
            trace: &trace,
            link: None,
            destination,
            custom_tags: &options.custom_tags,
            has_istio_tags: options.has_istio_tags,
        };
        let name = || match operation {
            Some(operation) => Arc::clone(&operation.name),
            None => settings.recorder.unnamed(request, SpanKind::Client),
        };
        let recording = match options.reports_spans {
            true => settings.recorder.begin(beginning, name, now),
            false => Recording::default(),
        };
        ClientSpan {
            task: Task::new(None, &trace),
            trace: Some(trace),
            recording,
            answered: None,
        }
    }
}

/// A client span that has begun. A [`Record`] takes it to its end, alone or as a field of a
/// [`Watch`] of your own; one that is dropped before is not exported.
#[derive(Debug, Default)]
pub struct ClientSpan {
    task: Task,
    trace: Option<TraceContext>,
    recording: Recording,
    /// The try that got the response, where tries have spans.
    answered: Option<Try>,
}

impl ClientSpan {
    /// The context that was sent.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// Whether its tags have texts that read the report.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn has_texts(&self) -> bool {
        self.recording.has_texts()
    }

    /// What makes a span of each try; `None` where that is not asked for, or the call is not
    /// recorded.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn tries(&self, of: &Propagation, destination: &Destination) -> Option<Arc<Tries>> {
        let settings = of.settings();
        if !settings.has_span_per_try {
            return None;
        }
        let formats = match settings.options.load().client.sends_context {
            true => self.trace.as_ref()?.marks.formats,
            false => Formats::NONE,
        };
        let tries = self.recording.tries(formats, &destination.cluster);
        tries.map(Arc::new)
    }

    /// Takes the try that got the response, to its end.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn answered_by(&mut self, answered: Option<Try>) {
        self.answered = answered;
    }
}

/// Opens the client span of each call, for [`ClientPropagationLayer`](super::ClientPropagationLayer).
#[derive(Clone, Debug, Default)]
pub struct ClientSpans(pub(super) Propagation);

impl Begin for ClientSpans {
    type Watch = ClientSpan;
    type Body<B: Body> = B;

    fn begin<B: Body>(&self, request: Request<B>) -> (Request<B>, Record<ClientSpan>) {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let exchange = context::current();
        let span = self
            .0
            .begin_call(&mut head, exchange.as_ref(), SystemTime::now);
        let size = ByteCount::announced(&body);
        let record = Record::new(Direction::Outbound, &head, exchange, size, now, span);
        (Request::from_parts(head, body), record)
    }
}

impl Watch for ClientSpan {
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let _entered = self.task.enter();
        poll()
    }

    fn dropping(&mut self, drop: impl FnOnce()) {
        let _entered = self.task.enter_drop();
        drop();
    }

    /// Takes the header out in which the server names the operation.
    fn answered(&mut self, head: &mut response::Parts) {
        let headers = &mut head.headers;
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
            if let Some(peer) = head.extensions.get::<Peer>() {
                self.recording.peer(peer);
            }
            self.recording.respond(&head.headers);
            self.recording.answered(head);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.recording.trailers(trailers);
    }

    fn ended(&mut self, report: &Report<'_>) {
        if let Some(answered) = self.answered.take() {
            answered.ended(report);
        }
        self.recording.end(report);
    }
}

/// The same call under a span of the application, which may be of another trace, and recorded where
/// the request is not. The request id then says so: a sidecar that samples by the id would turn the
/// trace off.
fn under(mut call: TraceContext, active: &ActiveSpan) -> TraceContext {
    if call.trace_id != active.trace_id {
        call.trace_id = active.trace_id;
        call.leave_trace();
    }
    call.parent_span_id = Some(active.span_id);
    call.sampled = active.sampled;
    if call.sampled
        && let Some(id) = &call.request_id
        && let Some(marked) = request_id::recorded(id)
    {
        call.request_id = Some(marked);
    }
    call
}
