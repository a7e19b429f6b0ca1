use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, request, response};

use super::active::Open;
use super::conventions::Operation;
use super::custom::formatted::TextBeginning;
use super::custom::tag::CustomTag;
use super::custom::texts::TagTexts;
use super::errors::Errors;
use super::finished::{FinishedSpan, SpanKind, SpanSink, SpanView};
use super::identity::Identity;
use super::notes::Tag;
use super::tags::{Call, Shown, Tags};
use super::target::authority;
#[cfg(all(feature = "server", feature = "client"))]
use super::tries::attempt::Tries;
#[cfg(all(feature = "server", feature = "client"))]
use crate::context::Formats;
use crate::context::{Exchange, Peer, SpanId, TraceContext, TraceId};
use crate::message::{Report, is_grpc};
use crate::propagation::destination::Destination;

/// Which spans are recorded, and what they show of this process.
#[derive(Clone, Debug, Default)]
pub(in crate::propagation) struct Recorder {
    pub(in crate::propagation) identity: Identity,
    pub(in crate::propagation) sink: Option<Arc<dyn SpanSink>>,
    pub(in crate::propagation) view: SpanView,
}

/// What a span begins with.
#[derive(Clone, Copy)]
pub(in crate::propagation) struct Beginning<'a> {
    pub(in crate::propagation) kind: SpanKind,
    pub(in crate::propagation) request: &'a request::Parts,
    /// The exchange of the request that came in, or that a call is made for.
    pub(in crate::propagation) exchange: Option<&'a Exchange>,
    pub(in crate::propagation) trace: &'a TraceContext,
    pub(in crate::propagation) link: Option<(TraceId, SpanId)>,
    /// Where a call goes.
    pub(in crate::propagation) destination: Option<&'a Destination>,
    pub(in crate::propagation) custom_tags: &'a [CustomTag],
    pub(in crate::propagation) has_istio_tags: bool,
}

impl Recorder {
    /// The name of a span whose operation is not known, as Envoy's tracer for the same collector
    /// has it.
    pub(in crate::propagation) fn unnamed(
        &self,
        request: &request::Parts,
        kind: SpanKind,
    ) -> Arc<str> {
        let authority = || authority(request).unwrap_or("-");
        let sink = self.sink.as_ref();
        if sink.is_some_and(|sink| sink.names_after_authority()) {
            return authority().into();
        }
        match kind {
            SpanKind::Client => format!("egress {}", authority()).into(),
            SpanKind::Server | SpanKind::Internal => "ingress".into(),
        }
    }

    /// Begins a span if the trace is sampled. The name and the time are asked for only then.
    pub(in crate::propagation) fn begin(
        &self,
        beginning: Beginning<'_>,
        name: impl FnOnce() -> Arc<str>,
        now: impl FnOnce() -> SystemTime,
    ) -> Recording {
        let Beginning {
            kind,
            request,
            exchange,
            trace,
            link,
            destination,
            custom_tags,
            has_istio_tags,
        } = beginning;
        let Some(sink) = self.sink.as_ref().filter(|_| trace.sampled) else {
            return Recording::default();
        };
        let own = exchange.filter(|_| kind == SpanKind::Server);
        let peer = own.and_then(Exchange::peer);
        let shown = Shown::find(&request.headers);
        let call = Call {
            request,
            target: own.and_then(Exchange::target).unwrap_or(&request.uri),
            kind,
            exchange,
            is_grpc: shown.content_type.is_some() && is_grpc(&request.headers),
            shown,
            has_istio_tags,
            hide: self.identity.hide.as_ref(),
        };
        let view = self.view;
        let mut tags = match view {
            SpanView::SemanticConventions => Tags::with_request_id(trace.request_id()),
            SpanView::Istio => Tags::begin(call, &self.identity, peer, trace.request_id(), 28),
            SpanView::Both => Tags::begin(call, &self.identity, peer, trace.request_id(), 44),
        };
        let inbound = || Some(self.identity.cluster(peer?.local_addr().port()));
        if view.has_istio()
            && let Some(cluster) = destination
                .map(|to| Arc::clone(&to.cluster))
                .or_else(inbound)
        {
            tags.upstream_cluster(&cluster);
        }
        let operation = view.has_conventions().then(|| {
            tags.begun(call);
            Operation::new(call)
        });
        let headers = &request.headers;
        let custom = custom_tags
            .iter()
            .filter_map(|tag| tag.of(headers, call.hide));
        let custom = custom.collect();
        let name = name();
        let start = now();
        let beginning = TextBeginning {
            request,
            began: start,
            call: (kind == SpanKind::Client).then_some((trace, destination)),
        };
        let texts = TagTexts::begin(custom_tags, beginning);
        let open = own.map(|own| Open::server(trace, own, sink, view, start));
        Recording(Some(Box::new(Started {
            open,
            sink: sink.clone(),
            name,
            kind,
            trace: trace.clone(),
            parent_is_remote: own.is_some() && trace.parent_span_id.is_some(),
            shared: false,
            link,
            start,
            is_grpc: call.is_grpc,
            tags,
            custom,
            texts,
            view,
            has_istio_tags,
            exchange: own.cloned(),
            operation,
        })))
    }
}

/// A span that is being recorded. It is exported once, at its end.
#[derive(Debug, Default)]
pub(in crate::propagation) struct Recording(Option<Box<Started>>);

/// The one allocation of a recorded span besides its tags.
#[derive(Debug)]
struct Started {
    /// Of the request that came in: what its handler notes.
    open: Option<Arc<Open>>,
    sink: Arc<dyn SpanSink>,
    name: Arc<str>,
    kind: SpanKind,
    trace: TraceContext,
    parent_is_remote: bool,
    shared: bool,
    link: Option<(TraceId, SpanId)>,
    start: SystemTime,
    is_grpc: bool,
    tags: Tags,
    /// Those of the operator.
    custom: Vec<Tag>,
    texts: TagTexts,
    view: SpanView,
    has_istio_tags: bool,
    /// Of the request that came in: what guards say of its target is known at the end.
    exchange: Option<Exchange>,
    /// Where the span is to follow OpenTelemetry's conventions, too.
    operation: Option<Operation>,
}

impl Recording {
    pub(in crate::propagation) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it has texts that read the report.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::propagation) fn has_texts(&self) -> bool {
        let started = self.0.as_ref();
        started.is_some_and(|started| !started.texts.is_empty())
    }

    /// The server span, for its handler to add to.
    pub(in crate::propagation) fn open(&self) -> Option<Arc<Open>> {
        self.0.as_ref()?.open.clone()
    }

    /// Notes that the span has the ids of the caller's.
    pub(in crate::propagation) fn share(&mut self) {
        if let Some(started) = &mut self.0 {
            started.shared = true;
        }
    }

    /// What the tries of this call have in common, where it is recorded.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::propagation) fn tries(&self, formats: Formats, cluster: &str) -> Option<Tries> {
        let started = self.0.as_ref()?;
        let tags = match started.view {
            SpanView::SemanticConventions => started.tags.clone(),
            SpanView::Istio | SpanView::Both => started.tags.of_tries(),
        };
        Some(Tries {
            call: started.trace.clone(),
            formats,
            name: match &started.operation {
                Some(operation) => operation.name(None, true),
                None => format!("router {cluster} egress").into(),
            },
            tags,
            custom: started.custom.clone(),
            view: started.view,
            sink: Arc::clone(&started.sink),
            is_grpc: started.is_grpc,
        })
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
        if let Some(started) = &mut self.0
            && started.view.has_istio()
        {
            started.tags.peer(peer);
        }
    }

    /// Reads the head of the response.
    pub(in crate::propagation) fn respond(&mut self, headers: &HeaderMap) {
        let Some(started) = &mut self.0 else {
            return;
        };
        started.texts.answered(headers);
        if started.is_grpc {
            if started.view.has_istio() {
                started.tags.grpc_message(headers);
            }
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
            let peer = response.extensions.get::<Peer>();
            started.tags.answered(response.version, peer);
        }
    }

    /// Reads the trailers of the response: what they say of gRPC counts more than its head.
    pub(in crate::propagation) fn trailers(&mut self, trailers: &HeaderMap) {
        let Some(started) = &mut self.0 else {
            return;
        };
        started.texts.trailers(trailers);
        if started.is_grpc && started.view.has_istio() {
            started.tags.grpc_message(trailers);
        }
    }

    pub(in crate::propagation) fn end(&mut self, report: &Report<'_>) {
        let Some(started) = self.0.take() else {
            return;
        };
        let Started {
            open,
            sink,
            name,
            kind,
            trace,
            parent_is_remote,
            shared,
            link,
            start,
            is_grpc,
            mut tags,
            custom,
            texts,
            view,
            has_istio_tags,
            exchange,
            operation,
        } = *started;
        if let Some(exchange) = &exchange {
            tags.hide(exchange);
        }
        if kind == SpanKind::Client && view.has_istio() {
            tags.called(report);
        }
        let mut errors = Errors::new(report, kind, is_grpc);
        match view.has_istio() {
            true => tags.outcome(report, errors, is_grpc),
            false => tags.sizes(report),
        }
        if let Some(exchange) = exchange
            .as_ref()
            .filter(|_| has_istio_tags && view.has_istio())
        {
            tags.dry_run(exchange);
        }
        errors.status |= operation.is_some() && report.is_broken();
        let name = match operation {
            None => name,
            Some(operation) => {
                let route = exchange.as_ref().and_then(Exchange::route);
                let has_method = operation.has_method(exchange.as_ref(), report, kind);
                tags.ended(&operation, route, report, errors, has_method);
                operation.name(route.map(|route| &**route), has_method)
            }
        };
        tags.add(custom);
        tags.add(texts.end(report));
        let mut span = FinishedSpan {
            name,
            kind,
            trace,
            parent_is_remote,
            shared,
            link,
            start,
            // A clock that was set back must not make a span that ends before it starts.
            end: SystemTime::now().max(start),
            is_error: errors.status,
            tags: tags.into_inner(),
            events: Vec::new(),
            dropped_tags: 0,
            dropped_events: 0,
        };
        if let Some(open) = open {
            open.complete(&mut span);
        }
        sink.export(span);
    }
}
