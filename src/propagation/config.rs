use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::format::baggage::Limits;
use super::format::extract::Format;
use super::options::{Sides, TraceOptions};
use super::span::custom::tag::CustomTag;
use super::span::export_counts::ExportCounts;
use super::span::finished::{SpanSink, SpanView};
use super::span::recording::Recorder;
use crate::context::Formats;
#[cfg(all(feature = "server", feature = "client"))]
use crate::context::Hide;
use crate::identity::{TrustDomain, Workload};
use crate::live::Live;
use crate::message::HEALTH_PATHS;

/// How traces and request ids go through this process: what the server and the client layer share.
/// Cheap to clone.
///
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::propagation::{Format, Propagation};
///
/// let workload = Workload::new("default", "patients").service("patients", 8443);
/// let propagation = Propagation::new()
///     .workload(&workload)
///     .formats([Format::B3, Format::W3c])
///     .sample_percent(100.0);
/// let layers = (propagation.server_layer(), propagation.client_layer());
/// # let _ = layers;
/// ```
#[derive(Clone, Debug)]
pub struct Propagation(pub(super) Arc<Settings>);

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) formats: Vec<Format>,
    /// Those of them that are read only where they are configured.
    pub(super) optional: Formats,
    /// Whether the application has chosen them.
    pub(super) has_own_formats: bool,
    /// What can be replaced while the process runs.
    pub(super) options: Live<Sides>,
    pub(super) untraced: Vec<Box<str>>,
    /// `None` unless the application has chosen.
    pub(super) edge_trace: Option<EdgeTrace>,
    pub(super) baggage: Limits,
    pub(super) preserves_external_request_id: bool,
    pub(super) returns_request_id: bool,
    pub(super) shares_spans: bool,
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the mesh's client")
    )]
    pub(super) has_span_per_try: bool,
    pub(super) forward: Vec<HeaderName>,
    pub(super) forward_to: Vec<TrustDomain>,
    pub(super) workload: Option<Arc<Workload>>,
    pub(super) recorder: Recorder,
}

impl Settings {
    fn set_formats(&mut self, formats: Vec<Format>) {
        let optional = formats.iter().map(|format| format.optional());
        self.optional = optional.fold(Formats::NONE, Formats::union);
        self.formats = formats;
    }
}

/// What becomes of the trace context of a peer that has proven no identity: a caller from outside
/// the mesh.
///
/// Whatever it is, such a peer's sampled flag never records more than the configured share of its
/// requests, and its baggage is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EdgeTrace {
    /// It is continued.
    Accept,
    /// A new trace begins.
    #[default]
    Restart,
    /// A new trace begins, and its first span links to the caller's.
    RestartAndLink,
}

impl Settings {
    pub(super) fn never_traces(&self, path: &str) -> bool {
        self.untraced.iter().any(|untraced| **untraced == *path)
    }
}

impl Propagation {
    /// Istio's defaults: one request in a hundred is recorded, unless the caller has decided.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Settings {
            formats: vec![Format::W3c, Format::B3],
            optional: Formats::NONE,
            has_own_formats: false,
            options: Live::new(Sides::default()),
            untraced: HEALTH_PATHS.map(Box::from).into(),
            edge_trace: None,
            baggage: Limits::USUAL,
            preserves_external_request_id: false,
            returns_request_id: false,
            shares_spans: false,
            has_span_per_try: false,
            forward: Vec::new(),
            forward_to: Vec::new(),
            workload: None,
            recorder: Recorder::default(),
        }))
    }

    /// Sets the formats, in the order in which they are read; all of them are written. W3C then B3
    /// by default; B3 then W3C where spans go to Zipkin. Headers of a format that is not listed go
    /// along untouched, but for those of W3C and B3, which would be stale, and are removed.
    #[must_use]
    pub fn formats(self, formats: impl IntoIterator<Item = Format>) -> Self {
        self.with(|settings| {
            settings.set_formats(formats.into_iter().collect());
            settings.has_own_formats = true;
        })
    }

    /// Sets the share of new traces that are recorded, from 0 to 100, in steps of 0.01; 1 by
    /// default, as in Istio.
    ///
    /// The choice is made by the request id, so that all hops with one percentage choose alike.
    #[must_use]
    pub fn sample_percent(self, percent: f64) -> Self {
        self.with_options(|options| options.sample_percent(percent))
    }

    /// Whether the request id chooses which new traces are recorded; it does by default. Otherwise all
    /// of them are, whatever the [share](Self::sample_percent): Istio's
    /// `useRequestIdForTraceSampling: false`. A caller's own decision counts more either way.
    #[must_use]
    pub fn sample_by_request_id(self, samples: bool) -> Self {
        self.with_options(|options| options.sample_by_request_id(samples))
    }

    /// Adds these tags to every span of the mesh, in place of those that were set before; none by
    /// default. [`TraceOptions::custom_tags`] sets those of one side.
    #[must_use]
    pub fn custom_tags(self, tags: impl IntoIterator<Item = CustomTag>) -> Self {
        let tags: Vec<_> = tags.into_iter().collect();
        self.with_options(|options| options.custom_tags(tags.clone()))
    }

    /// What is in use for requests that come in, and can be [replaced](Self::replace_options).
    pub fn server_options(&self) -> TraceOptions {
        self.0.options.load().server.clone()
    }

    /// What is in use for calls, and can be [replaced](Self::replace_options).
    pub fn client_options(&self) -> TraceOptions {
        self.0.options.load().client.clone()
    }

    /// Replaces the options of requests and of calls while layers are in use: of this propagation,
    /// of its clones, and of those that were made from it without other options of this kind. What
    /// has begun ends as it began. Neither requests nor this wait for one another.
    ///
    /// A [`Mesh`](crate::mesh) has options of its own from its build on.
    pub fn replace_options(&self, server: TraceOptions, client: TraceOptions) {
        self.0.options.store(Sides { server, client });
    }

    /// What contradicts itself.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let sink = self.0.recorder.sink.as_ref()?;
        let is_wrong = self.0.shares_spans && !sink.takes_shared_spans();
        is_wrong.then_some(
            "`share_spans` is for Zipkin alone, and the spans go elsewhere: OTLP takes two spans of \
             one id for the same span; send to Zipkin, or leave `share_spans` out",
        )
    }

    /// Has options of its own from now on.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn with_own_options(self) -> Self {
        self.with_options(|options| options)
    }

    fn with_options(self, change: impl Fn(TraceOptions) -> TraceOptions) -> Self {
        self.with(|settings| {
            let Sides { server, client } = (*settings.options.load()).clone();
            settings.options = Live::new(Sides {
                server: change(server),
                client: change(client),
            });
        })
    }

    /// Replaces the paths whose requests are never recorded, whoever asks for it; their ids are made
    /// and sent on. By default these are the paths of health checks: `/healthz`, `/livez`, `/readyz`,
    /// `/grpc.health.v1.Health/Check` and `/grpc.health.v1.Health/Watch`, as for
    /// [`ConcurrencyLimit`](crate::concurrency::ConcurrencyLimit::HEALTH_PATHS). A path is compared
    /// as a whole, without its query; an empty list excepts none.
    #[must_use]
    pub fn never_trace<'p>(self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        self.with(|settings| settings.untraced = paths.into_iter().map(Box::from).collect())
    }

    /// Sets what becomes of the trace context of callers from outside the mesh; it restarts by
    /// default.
    #[must_use]
    pub fn edge_trace(self, edge_trace: EdgeTrace) -> Self {
        self.with(|settings| settings.edge_trace = Some(edge_trace))
    }

    /// For listeners without TLS, where no caller can have an identity: continues the traces of
    /// callers, unless the application has chosen otherwise.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn among_strangers(self) -> Self {
        self.with(|settings| {
            settings.edge_trace.get_or_insert(EdgeTrace::Accept);
        })
    }

    /// Keeps the request id of a caller from outside the mesh, when it is harmless: at most 128
    /// bytes of `A-Z a-z 0-9 - _ . :`.
    ///
    /// By default such callers get a new one.
    #[must_use]
    pub fn preserve_external_request_id(self) -> Self {
        self.with(|settings| settings.preserves_external_request_id = true)
    }

    /// Returns the request id on every response; by default only to a caller that sent
    /// `x-envoy-force-trace` and may: a peer that has proven an identity of the mesh, or, where only
    /// the layers of this module are used, one that no acceptor of this crate has taken.
    #[must_use]
    pub fn return_request_id(self) -> Self {
        self.with(|settings| settings.returns_request_id = true)
    }

    /// Sets how many entries of `baggage` are carried, and how many bytes: 180 and 8,192 by default.
    /// Entries beyond are dropped, each as a whole, from the right. The standard (W3C Baggage) asks
    /// for 64 and 8,192 at least. The headers of Jaeger's baggage have the same bounds again.
    #[must_use]
    pub fn baggage_limits(self, entries: usize, bytes: usize) -> Self {
        self.with(|settings| {
            settings.baggage = Limits {
                members: entries,
                bytes,
            };
        })
    }

    /// The server's span shares the ids of the caller's, as Zipkin's own libraries do and Istio did
    /// in its first years: it has the trace, span and parent id that B3 brought, and `shared` is set.
    /// By default, and for callers that send another format or no ids, it is a child with an id of
    /// its own.
    ///
    /// For Zipkin alone: other collectors take two spans of one id for the same span. So the layers
    /// of this module do not do it where the sink [does not take](SpanSink::takes_shared_spans) such
    /// spans, as OpenTelemetry's do not, and the build of a [`Mesh`](crate::mesh) is an error there.
    #[must_use]
    pub fn share_spans(self) -> Self {
        self.with(|settings| settings.shares_spans = true)
    }

    /// Makes a span of each try of a call, under the span of the call, as Envoy's gateways do; off by
    /// default. For the client of a [`Mesh`](crate::mesh): other clients try once.
    ///
    /// A try goes to one address, and ends when no connection to it can be made, when the connection
    /// breaks, or with the response. Its span is named `router <cluster> egress`, has the kind of a
    /// client's, and names the address in `upstream_address` and `peer.address`, as `IP:port`. What
    /// the server does hangs under the try that reached it.
    #[must_use]
    pub fn span_per_try(self) -> Self {
        self.with(|settings| settings.has_span_per_try = true)
    }

    /// Carries further headers from an inbound request to the outbound requests it causes.
    ///
    /// Headers of tracing formats that we do not read go along anyway. Think twice before naming
    /// `authorization` or `cookie`: they then go to every service of our trust domain that is
    /// called. `x-forwarded-client-cert` goes along only where the application sees it, and a header
    /// that a token fills never does.
    ///
    /// A [`Mesh`](crate::mesh)'s client sends `baggage`, `authorization`, `proxy-authorization`,
    /// `cookie` and `x-forwarded-client-cert` along only to workloads of its own trust domain and
    /// of those of [`forward_to`](Self::forward_to); no other server gets them, unless the
    /// application sets them on the call itself. The layers of this module do not know whom they
    /// call, and send them along always.
    #[must_use]
    pub fn forward(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|settings| settings.forward = names.into_iter().collect())
    }

    /// Names further trust domains to which a mesh's client carries what may tell of the user:
    /// `baggage`, and `authorization` and its like where [`forward`](Self::forward) names them.
    #[must_use]
    pub fn forward_to(self, domains: impl IntoIterator<Item = TrustDomain>) -> Self {
        self.with(|settings| settings.forward_to = domains.into_iter().collect())
    }

    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn forwards_to(&self, domain: &TrustDomain) -> bool {
        self.0.forward_to.contains(domain)
    }

    /// Names spans and their tags after this workload and its services.
    #[must_use]
    pub fn workload(self, workload: &Workload) -> Self {
        self.with(|settings| {
            settings.recorder.identity.be(workload);
            settings.workload = Some(Arc::new(workload.clone()));
            if let Some(sink) = &settings.recorder.sink {
                sink.workload(workload);
            }
        })
    }

    /// Sets the tag `node_id`, in place of the workload's
    /// [own](Workload::node_id): `sidecar~<pod ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`,
    /// by which Kiali finds the pod.
    #[must_use]
    pub fn node_id(self, node_id: impl Into<Arc<str>>) -> Self {
        let node_id = node_id.into();
        self.with(|settings| settings.recorder.identity.node_id = Some(node_id))
    }

    /// Takes parameters out of the paths that spans show.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn hide_in_paths(self, hide: Hide) -> Self {
        self.with(|settings| settings.recorder.identity.hide = Some(hide))
    }

    /// Sets where the spans of recorded requests go; nowhere by default.
    #[must_use]
    pub fn export_to(self, sink: impl SpanSink) -> Self {
        self.with(|settings| {
            if let Some(workload) = &settings.workload {
                sink.workload(workload);
            }
            if !settings.has_own_formats {
                settings.set_formats(sink.usual_formats().to_vec());
            }
            settings.recorder.sink = Some(Arc::new(sink));
        })
    }

    /// Whether spans go anywhere.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn exports(&self) -> bool {
        self.0.recorder.sink.is_some()
    }

    /// What has become of the spans; `None` where they go nowhere, or to a sink that does not count.
    #[must_use]
    pub fn export_counts(&self) -> Option<ExportCounts> {
        self.0.recorder.sink.as_ref()?.counts()
    }

    /// Sends the spans that wait to be sent. Returns whether that was done within this time.
    ///
    /// A mesh does it at the end of [`serve`](crate::Mesh::serve); under a server of your own, do
    /// it before the process ends.
    pub async fn flush_spans(&self, within: Duration) -> bool {
        match &self.0.recorder.sink {
            Some(sink) => sink.flush(within).await,
            None => true,
        }
    }

    /// Spans follow OpenTelemetry's semantic conventions for HTTP and RPC, so that its tools group
    /// and chart them: the stable attributes are added to Istio's tags, and the span's name is
    /// `{method} {route}`, or of gRPC `{package.Service}/{method}`, instead of Istio's.
    ///
    /// | side | attributes |
    /// |---|---|
    /// | both | `http.request.method` (`_OTHER` and `http.request.method_original` for one that is not standard), `http.response.status_code`, `url.scheme`, `server.address`, `server.port`, `network.peer.address`, `network.peer.port`, `network.protocol.name`, `network.protocol.version`, `user_agent.original`, `error.type` |
    /// | server | `url.path`, `url.query`, `client.address`, `http.route` |
    /// | client | `url.full` |
    /// | gRPC | `rpc.system.name`, `rpc.method` (`package.Service/Method`), `rpc.response.status_code` (`OK`, `NOT_FOUND`), of version 1.45; of a server, `_OTHER` and `rpc.method_original` (and `grpc` as the name) for a method that it does not have, and where no gRPC service has answered |
    ///
    /// `url.query` and `url.full` leave out what Istio's `http.url` does: tokens, passwords, and
    /// the signatures and credentials that the conventions name (`sig`, `X-Amz-Signature`, …);
    /// every text is cut at 256 bytes. `error.type` is there when the span's status is an error:
    /// the status code, the name of the gRPC status, or without a whole answer Envoy's response
    /// flags (`UF`, `DC`, `UC`), else `_OTHER`. The route is known where the application has
    /// [set](crate::context::Exchange::set_route) it:
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use axum::Router;
    /// use axum::extract::{MatchedPath, Request};
    /// use axum::middleware::{Next, from_fn};
    /// use axum::routing::get;
    /// use tower_mesh::context;
    ///
    /// let app: Router = Router::new().route("/patients/{id}", get(|| async { "a patient" })).route_layer(from_fn(|path: MatchedPath, request: Request, next: Next| {
    ///     if let Some(exchange) = context::current() {
    ///         exchange.set_route(path.as_str().into());
    ///     }
    ///     next.run(request)
    /// }));
    /// # let _ = app; }
    /// ```
    #[must_use]
    pub fn semantic_conventions(self) -> Self {
        self.span_view(SpanView::Both)
    }

    /// Sets what names and tags spans have: Istio's by default, those of OpenTelemetry's
    /// [semantic conventions](Self::semantic_conventions), or both.
    ///
    /// With the conventions alone, spans have their attributes, `http.request.body.size` and
    /// `http.response.body.size` among them, `guid:x-request-id`, and the operator's and the
    /// application's own tags. Kiali does not find such spans: it needs `node_id`.
    #[must_use]
    pub fn span_view(self, view: SpanView) -> Self {
        self.with(|settings| settings.recorder.view = view)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0
    }
}

impl Default for Propagation {
    fn default() -> Self {
        Self::new()
    }
}
