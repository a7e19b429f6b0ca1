//! Decides the trace of a request: continues the caller's or begins one, and whether to sample it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::config::{EdgeTrace, Settings};
use super::format::baggage;
use super::format::extract::{Extracted, extract};
use super::format::headers::{BAGGAGE, Incoming, Seen, TRACESTATE};
use super::format::inject::IdWritten;
use super::format::parent::{Origin, Parent};
use super::format::request_id::{self, RequestId, Uuid};
use super::format::w3c;
use super::ids::random;
use super::options::TraceOptions;
use crate::context::{Carried, Formats, Marks, SpanId, TraceContext, TraceId, TraceReason};

/// How far to believe a peer's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The peer has proven an identity of the mesh, or no acceptor of ours took the connection, so
    /// that its identity is not known.
    Inside,
    /// The peer has proven no identity.
    Outside,
}

/// The context of a request that comes in, and what else its headers hold.
pub(super) struct Opened {
    pub(super) trace: TraceContext,
    /// The formats that the application sees: those that the caller sent, and the first of ours;
    /// all of ours when a trace begins.
    pub(super) formats: Formats,
    /// A caller's span that this trace does not continue but remembers.
    pub(super) link: Option<(TraceId, SpanId)>,
    /// A new request id is not text yet: the trace gets it when headers are written.
    pub(super) id_written: IdWritten,
}

/// Continues the caller's trace, or begins one. `is_forced` says that `x-envoy-force-trace` is
/// honoured.
pub(super) fn open(
    settings: &Settings,
    options: &TraceOptions,
    incoming: &Incoming<'_>,
    headers: &HeaderMap,
    trust: Trust,
    is_forced: bool,
    path: &str,
) -> Opened {
    let told = extract(&settings.formats, incoming);
    let (extracted, link) = judge(settings.edge_trace.unwrap_or_default(), told, trust);
    let kept = incoming
        .request_id
        .filter(|id| may_keep(settings, id, trust));
    let mut request_id = id(kept);
    let choice = Choice {
        settings,
        options,
        path,
        told: extracted.told(),
        is_capped: trust == Trust::Outside,
        is_client_forced: incoming.client_trace_id.is_some(),
        is_service_forced: is_forced,
    };
    let (sampled, is_marked) = choice.make(&mut request_id);
    let (came_id, new_id) = request_id.split();
    let mut marks = extracted.marks();
    marks.debug &= sampled;
    let trace = TraceContext {
        trace_id: extracted.trace_id().unwrap_or_else(random::trace_id),
        span_id: random::span_id(),
        parent_span_id: extracted.parent.map(|parent| parent.span_id),
        sampled,
        marks,
        request_id: came_id,
        carried: carried(settings, &extracted, incoming, headers, trust),
    };
    Opened {
        trace,
        formats: extracted.came,
        link,
        id_written: match (new_id, is_marked) {
            (Some(id), _) => IdWritten::New(id),
            (None, true) => IdWritten::Own,
            (None, false) => IdWritten::AsItCame,
        },
    }
}

fn id(kept: Option<&HeaderValue>) -> RequestId {
    match kept {
        Some(id) => RequestId::Came(id.clone()),
        None => RequestId::New(Uuid::new()),
    }
}

/// The root of a trace that begins with a call of ours, and its request id if that is a new one.
/// `told` is the decision of the application's span under which the call is made.
pub(super) fn root(
    settings: &Settings,
    options: &TraceOptions,
    request_id: Option<&HeaderValue>,
    told: Option<bool>,
) -> (TraceContext, Option<Uuid>) {
    let extracted = extract(&settings.formats, &Incoming::default());
    let choice = Choice {
        settings,
        options,
        path: "",
        told,
        is_capped: false,
        is_client_forced: false,
        is_service_forced: false,
    };
    let mut request_id = id(request_id.filter(|id| !id.is_empty()));
    let (sampled, _) = choice.make(&mut request_id);
    let (came_id, new_id) = request_id.split();
    let mut root = TraceContext::root(random::trace_id(), random::span_id(), sampled);
    root.marks = extracted.marks();
    root.request_id = came_id;
    (root, new_id)
}

/// The part of a caller's context that counts, by how far the caller is trusted (H-15).
fn judge(
    edge_trace: EdgeTrace,
    told: Extracted,
    trust: Trust,
) -> (Extracted, Option<(TraceId, SpanId)>) {
    match (trust, edge_trace) {
        (Trust::Inside, _) | (Trust::Outside, EdgeTrace::Accept) => (told, None),
        (Trust::Outside, EdgeTrace::Restart) => (told.restarted(), None),
        (Trust::Outside, EdgeTrace::RestartAndLink) => {
            let link = told.parent.map(|parent| (parent.trace_id, parent.span_id));
            (told.restarted(), link)
        }
    }
}

/// H-14: an internal hop keeps any id, an edge makes its own unless the configuration keeps the one
/// that came.
fn may_keep(settings: &Settings, id: &HeaderValue, trust: Trust) -> bool {
    match trust {
        Trust::Inside => !id.is_empty(),
        Trust::Outside => {
            settings.preserves_external_request_id && request_id::is_harmless(id.as_bytes())
        }
    }
}

impl Extracted {
    fn restarted(self) -> Self {
        Self {
            formats: self.formats,
            came: self.formats,
            ..Self::default()
        }
    }

    fn trace_id(&self) -> Option<TraceId> {
        let parent = self.parent.map(|parent| parent.trace_id);
        parent.or_else(|| self.origin.map(|origin| origin.trace_id))
    }

    /// Whether the caller, or a state that came without ids, decided on recording.
    fn told(&self) -> Option<bool> {
        match (self.parent, self.origin) {
            (Some(Parent { sampled, .. }), _) | (None, Some(Origin { sampled, .. })) => sampled,
            (None, None) => self.state.sampled,
        }
    }

    fn marks(&self) -> Marks {
        let parent = self.parent;
        Marks {
            debug: parent.map_or(self.state.debug, |parent| parent.debug),
            // We make all 16 bytes of an id random.
            random: match parent {
                Some(parent) => parent.random,
                None => self.origin.is_none(),
            },
            short: parent.is_some_and(|parent| parent.short),
            firehose: parent.is_some_and(|parent| parent.firehose),
            formats: self.formats,
        }
    }
}

/// What decides whether a request is recorded.
struct Choice<'a> {
    settings: &'a Settings,
    options: &'a TraceOptions,
    /// Of the request that has come.
    path: &'a str,
    /// The caller's own decision.
    told: Option<bool>,
    /// Whether the caller cannot record more than our own share.
    is_capped: bool,
    is_client_forced: bool,
    is_service_forced: bool,
}

impl Choice<'_> {
    /// Decides, and marks the request id so that sidecars downstream decide alike. Returns the
    /// decision, and whether the id has changed.
    ///
    /// The caller's decision counts first. Then the reason that the id already carries; then who
    /// forces a trace; then chance, which the id itself holds. A sidecar that samples by the id
    /// would turn a recorded trace off, so an undecided id gets the reason written in. A health check
    /// is never recorded.
    fn make(self, id: &mut RequestId) -> (bool, bool) {
        let decided = id.reason().filter(|_| !self.is_capped);
        let is_chosen =
            || !self.options.samples_by_request_id || id.is_sampled(self.options.sampling);
        let chance = || is_chosen().then_some(TraceReason::Sampled);
        let reason = if decided.is_some() {
            decided
        } else if self.is_client_forced && !self.is_capped {
            Some(TraceReason::ClientForced)
        } else if self.is_service_forced {
            Some(TraceReason::ServiceForced)
        } else if self.told.is_none() || self.is_capped {
            chance()
        } else {
            None
        };
        let sampled = match self.told {
            Some(told) if self.is_capped => told && reason.is_some(),
            Some(told) => told,
            None => reason.is_some(),
        };
        // Asked last, because few requests are recorded.
        let sampled = sampled && !self.settings.never_traces(self.path);
        let is_marked =
            sampled && decided.is_none() && id.mark(reason.unwrap_or(TraceReason::Sampled));
        (sampled, is_marked)
    }
}

/// What goes along with the trace: one allocation, and only when there is any.
fn carried(
    settings: &Settings,
    extracted: &Extracted,
    incoming: &Incoming<'_>,
    headers: &HeaderMap,
    trust: Trust,
) -> Option<Arc<Carried>> {
    let has_state = extracted.is_w3c && incoming.has(Seen::TRACESTATE);
    let has_baggage = incoming.has(Seen::BAGGAGE) && trust == Trust::Inside;
    if !has_state && !has_baggage && incoming.verbatim.is_empty() {
        return None;
    }
    let carried = Carried {
        tracestate: has_state
            .then(|| w3c::tracestate(&headers.get_all(TRACESTATE)))
            .flatten(),
        baggage: has_baggage
            .then(|| baggage::join(&headers.get_all(BAGGAGE), settings.baggage))
            .flatten(),
        verbatim: incoming
            .verbatim
            .iter()
            .map(|(name, value)| ((*name).clone(), (*value).clone()))
            .collect(),
    };
    let is_empty =
        carried.tracestate.is_none() && carried.baggage.is_none() && carried.verbatim.is_empty();
    (!is_empty).then(|| Arc::new(carried))
}
