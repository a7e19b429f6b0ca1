use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Response};

use crate::context::{Formats, Peer, TraceContext};
use crate::message::{Report, ResponseFlags};
use crate::propagation::format::headers::Incoming;
use crate::propagation::format::inject::IdWritten;
use crate::propagation::ids::random;
use crate::propagation::span::errors::Errors;
use crate::propagation::span::finished::{FinishedSpan, SpanKind, SpanSink, SpanView};
use crate::propagation::span::notes::Tag;
use crate::propagation::span::tags::{Tags, protocol};

/// The tries of a call whose span is recorded.
#[derive(Debug)]
pub(crate) struct Tries {
    pub(in crate::propagation) call: TraceContext,
    /// Those that the call's headers have.
    pub(in crate::propagation) formats: Formats,
    pub(in crate::propagation) name: Arc<str>,
    /// The tags that all tries have.
    pub(in crate::propagation) tags: Tags,
    /// Those of the operator, which count over a try's own.
    pub(in crate::propagation) custom: Vec<Tag>,
    pub(in crate::propagation) view: SpanView,
    pub(in crate::propagation) sink: Arc<dyn SpanSink>,
    pub(in crate::propagation) is_grpc: bool,
}

/// A try that has begun. Its span is exported at its end, and when it is dropped before.
#[derive(Debug)]
pub(crate) struct Try(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    of: Arc<Tries>,
    trace: TraceContext,
    address: String,
    tags: Tags,
    start: SystemTime,
    started: Instant,
}

impl Tries {
    /// Begins the span of a try at this address. The headers then name it as the parent of what the
    /// server does.
    pub(crate) fn begin(self: &Arc<Self>, headers: &mut HeaderMap, address: String) -> Try {
        let trace = self.call.child(random::span_id());
        let found = Incoming::scan(headers, &[]).found;
        let _ = trace.write(headers, found, self.formats, IdWritten::AsItCame);
        Try(Some(Box::new(Begun {
            of: Arc::clone(self),
            trace,
            address,
            tags: self.tags.clone(),
            start: SystemTime::now(),
            started: Instant::now(),
        })))
    }
}

impl Try {
    /// The server has answered.
    pub(crate) fn answered<B>(mut self, response: &Response<B>) -> Self {
        if let Some(begun) = &mut self.0 {
            if let Some(peer) = response.extensions().get::<Peer>() {
                begun.address = peer.remote_addr().to_string();
            }
            match begun.of.view.has_istio() {
                true => {
                    let protocol = protocol(response.version());
                    begun.tags.fixed("http.protocol", protocol);
                }
                false => begun
                    .tags
                    .answered(response.version(), response.extensions().get()),
            }
        }
        self
    }

    /// There is no response.
    pub(crate) fn failed(mut self, flags: ResponseFlags) {
        if let Some(mut begun) = self.0.take() {
            begun.fail(flags);
            begun.end(true);
        }
    }

    /// The call has ended with the response to this try.
    pub(in crate::propagation) fn ended(mut self, report: &Report<'_>) {
        if let Some(mut begun) = self.0.take() {
            let is_grpc = begun.of.is_grpc;
            let errors = Errors::new(report, SpanKind::Client, is_grpc);
            match begun.of.view.has_istio() {
                true => begun.tags.outcome(report, errors, is_grpc),
                false => begun.tags.ended_try(report, errors),
            }
            begun.end(errors.status);
        }
    }
}

/// A call that is given up, or whose time is over, takes its try back. As in Envoy's router, the
/// try is `canceled` and has no flag: that is the call's.
impl Drop for Try {
    fn drop(&mut self) {
        if let Some(mut begun) = self.0.take() {
            begun.fail(ResponseFlags::none());
            if begun.of.view.has_istio() {
                begun.tags.fixed("canceled", "true");
            }
            begun.end(true);
        }
    }
}

impl Begun {
    fn fail(&mut self, flags: ResponseFlags) {
        match self.of.view.has_istio() {
            true => self.tags.without_response(flags),
            false => self.tags.failed_try(flags),
        }
    }

    fn end(self, is_error: bool) {
        let Self {
            of,
            trace,
            address,
            mut tags,
            start,
            started,
        } = self;
        if of.view.has_istio() {
            let address: Arc<str> = address.into();
            tags.shared("upstream_address", &address);
            tags.shared("peer.address", &address);
        }
        tags.add(of.custom.clone());
        // Counted from the start: a clock that is set back makes no span that ends before it.
        let end = start.checked_add(started.elapsed()).unwrap_or(start);
        of.sink.export(FinishedSpan {
            name: Arc::clone(&of.name),
            kind: SpanKind::Client,
            trace,
            parent_is_remote: false,
            shared: false,
            link: None,
            start,
            end,
            is_error,
            tags: tags.into_inner(),
            events: Vec::new(),
            dropped_tags: 0,
            dropped_events: 0,
        });
    }
}
