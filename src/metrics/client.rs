use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use foldhash::fast::RandomState;
use http::{Request, header, request, response};
use http_body::Body;

use super::connection::Connection;
use super::conventions::active::ActiveRequest;
use super::conventions::attributes::Called;
use super::measurement::{Fields, Measurement};
use super::peer::local_labels::LocalLabels;
use super::peer::local_metadata::LocalMetadata;
use super::peer::memo::Memo;
use super::peer::metadata::{PresentHeaders, ReceivedMetadata, is_metadata};
use super::peer::peers::{Lookup, Peers, RemoteLabels};
use super::peer::service_name::ServiceName;
use super::plan::MetricsPlan;
use super::registry::Registry;
use super::store::append_only_map::AppendOnlyMap;
use super::store::exemplars::SpanIds;
use super::store::labels::BaseLabels;
use super::store::series::BaseId;
use super::store::table::{Interned, OnMissing};
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
use super::store::tags::TagValues;
#[cfg(all(feature = "server", feature = "client"))]
use crate::context::TraceContext;
use crate::context::{self, Exchange, Peer};
use crate::identity::{SpiffeId, Workload};
use crate::message::{
    Begin, ByteCount, CountingBody, Direction, End, Record, Report, ResponseFlags, Watch,
};

/// The metrics of the calls that go out: Istio's series with `reporter="source"`. Cheap to clone.
///
/// [`MetricsLayer`](super::MetricsLayer) counts with them. Code that composes its own layers gives
/// what [`begin`](Self::begin) returns to a [`Record`], alone or as a field of its own
/// [`Watch`].
#[derive(Clone)]
pub struct ClientMetrics(Arc<Client>);

struct Client {
    registry: Registry,
    local: LocalLabels,
    metadata: Option<LocalMetadata>,
    overflow: BaseId,
    hasher: RandomState,
    destinations: AppendOnlyMap<Arc<Destination>, 64>,
    destination_count: AtomicUsize,
    /// Counts the calls to hosts past the bound.
    other: Arc<Destination>,
}

/// A host that this workload calls.
struct Destination {
    host: Box<str>,
    reach: Reached,
    service: Option<ServiceName>,
    peers: Peers,
}

/// One request that went out and has not ended. It is counted when a [`Record`] reports its end, or
/// when it is [finished](Self::finish) by hand.
#[must_use = "a record that is not finished is not counted"]
pub struct ClientRecord {
    metrics: ClientMetrics,
    measurement: Measurement,
    destination: Arc<Destination>,
    base: Option<BaseId>,
    span: Option<SpanIds>,
    /// Kept for OpenTelemetry's metrics.
    called: Option<Box<Called>>,
    active: Option<ActiveRequest>,
}

impl Registry {
    /// Metrics of the calls that go out from this workload.
    #[must_use]
    pub fn client(&self, workload: &Workload) -> ClientMetrics {
        ClientMetrics::new(self, workload, None)
    }

    /// As [`client`](Self::client), with the identity that this workload's certificate holds.
    #[must_use]
    pub fn client_as(&self, workload: &Workload, identity: &SpiffeId) -> ClientMetrics {
        ClientMetrics::new(self, workload, Some(identity))
    }
}

impl ClientMetrics {
    fn new(registry: &Registry, workload: &Workload, identity: Option<&SpiffeId>) -> Self {
        let local = LocalLabels::new(workload, identity);
        let overflow = registry.table().overflow_base(&BaseLabels {
            source: local.labels(true),
            ..BaseLabels::unknown("source", "unknown")
        });
        Self(Arc::new(Client {
            registry: registry.clone(),
            metadata: LocalMetadata::new(workload, identity, &registry.options().extra_labels),
            local,
            overflow,
            hasher: RandomState::default(),
            destinations: AppendOnlyMap::new(),
            destination_count: AtomicUsize::new(0),
            other: Arc::new(Destination {
                host: Box::default(),
                reach: Reached::Host,
                service: None,
                peers: Peers::new(Memo::new()),
            }),
        }))
    }

    /// A request goes out: starts its clock, and describes this workload in the peer metadata
    /// headers if the destination is a service of the mesh.
    ///
    /// The destination is the host of the request's URI, else that of its `host` header. It is read
    /// as Kubernetes' DNS reads it: `charts.default` is `charts.default.svc.cluster.local`, and a
    /// host that cannot be a service is outside the mesh. `sent` counts the bytes of the request
    /// body.
    pub fn begin(
        &self,
        request: &mut request::Parts,
        sent: ByteCount,
        now: Instant,
    ) -> ClientRecord {
        let destination = self.0.destination(host(request), Reached::Host);
        let service = destination.service.as_ref();
        let is_inside = service.is_some_and(ServiceName::is_inside);
        self.started(destination, is_inside, request, sent, now)
    }

    /// As [`begin`](Self::begin), for a call that the mesh refuses because it knows no such host:
    /// what Istio counts under `BlackHoleCluster`.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn begin_refused(
        &self,
        request: &mut request::Parts,
        sent: ByteCount,
        now: Instant,
    ) -> ClientRecord {
        let destination = self.0.destination(host(request), Reached::Nowhere);
        self.started(destination, false, request, sent, now)
    }

    /// As [`begin`](Self::begin), for a destination that is known to be outside the mesh whatever
    /// its host looks like: this workload is not described to it.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn begin_outside(
        &self,
        request: &mut request::Parts,
        sent: ByteCount,
        now: Instant,
    ) -> ClientRecord {
        let destination = self.0.destination(host(request), Reached::Outside);
        self.started(destination, false, request, sent, now)
    }

    fn started(
        &self,
        destination: Arc<Destination>,
        is_inside: bool,
        request: &mut request::Parts,
        sent: ByteCount,
        now: Instant,
    ) -> ClientRecord {
        // The application may have copied the headers of the call that it serves.
        let copied = request.headers.keys().any(is_metadata);
        let _ = ReceivedMetadata::take(&mut request.headers, copied);
        if let (true, Some(metadata)) = (is_inside, &self.0.metadata) {
            metadata.add(&mut request.headers, PresentHeaders::BOTH);
        }
        let fields = Fields::read(&request.headers, request.version);
        let conventions = self.0.registry.conventions();
        let called = conventions.map(|_| Box::new(Called::of(request, &destination.host)));
        let measurement = Measurement::new(request, &fields, sent, now);
        let is_counted = !measurement.is_grpc();
        let active = conventions.zip(called.as_deref()).filter(|_| is_counted);
        let active = active.and_then(|(conventions, called)| {
            conventions.begun(&request.method, called.is_tls(), Some(called))
        });
        ClientRecord {
            metrics: self.clone(),
            measurement,
            destination,
            base: None,
            span: None,
            called,
            active,
        }
    }

    /// A connection that carries no HTTP was opened to this host; `peer` is the server as the TLS
    /// connector verified it.
    #[must_use]
    pub fn connection(&self, host: &str, peer: Option<&Peer>) -> Connection {
        self.connection_to(host, Reached::Host, peer, ResponseFlags::none())
    }

    /// As [`connection`](Self::connection), to a host that goes there. One that could not be made
    /// has flags, and is dropped at once.
    pub(crate) fn connection_to(
        &self,
        host: &str,
        reached: Reached,
        peer: Option<&Peer>,
        flags: ResponseFlags,
    ) -> Connection {
        let destination = self.0.destination(host, reached);
        let nothing = ReceivedMetadata::default();
        let base = self.0.base_of(&destination, peer, &nothing, Instant::now());
        Connection::open(&self.0.registry, base, self.0.overflow, flags)
    }
}

impl ClientRecord {
    /// The exchange has ended, and no [`Record`] reports it: counts it, in all families at once.
    ///
    /// Without a response head before, the response code is `0`.
    pub fn finish(mut self, end: End, now: Instant) {
        let span = self.span;
        self.count(end, now, span);
    }

    /// The call has this span of its own.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn traced(&mut self, trace: Option<&TraceContext>) {
        self.span = SpanIds::sampled(trace);
    }

    /// A gRPC response has brought so many messages by now. The messages of both directions are
    /// reported at most every five seconds, and the rest at the end.
    pub fn progressed(&mut self, messages: u64, now: Instant) {
        if let Some(base) = self.base {
            let registry = &self.metrics.0.registry;
            let side = |plan: &MetricsPlan| plan.client.reporting_interval;
            self.measurement
                .progressed(registry, base, messages, now, side);
        }
    }

    /// The values of the exchange for labels with an expression.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn tag(&mut self, tags: TagValues) {
        self.measurement.tag(tags);
    }

    /// The bytes of the heads of request and response, and what is written of the labels, at the end.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn measured(&mut self, report: &Report<'_>) -> (u64, u64, Option<&str>) {
        self.reached(report);
        let registry = &self.metrics.0.registry;
        self.measurement.measured(registry, self.base)
    }

    /// A call without an answer is counted for the server that it had reached, if it had.
    fn reached(&mut self, report: &Report<'_>) {
        if self.base.is_none() && report.peer.is_some() {
            let (nothing, now) = (ReceivedMetadata::default(), self.measurement.start());
            let client = &*self.metrics.0;
            self.base = Some(client.base_of(&self.destination, report.peer, &nothing, now));
        }
    }

    fn count(&mut self, end: End, now: Instant, span: Option<SpanIds>) {
        let client = &*self.metrics.0;
        let nothing = ReceivedMetadata::default();
        let base = self
            .base
            .unwrap_or_else(|| client.base_of(&self.destination, None, &nothing, now));
        let bases = (base, client.overflow);
        self.measurement
            .add_to(&client.registry, bases, end, now, span);
    }
}

impl Watch for ClientRecord {
    /// Keeps the status and size of the response, removes its peer metadata headers, and finds the
    /// series of the server, the [`Peer`] in the extensions of the response.
    fn answered(&mut self, head: &mut response::Parts) {
        let fields = self.measurement.answered(head);
        let given = ReceivedMetadata::take(&mut head.headers, fields.has_metadata);
        let peer = head.extensions.get::<Peer>();
        let now = self.measurement.start();
        let base = self.metrics.0.base_of(&self.destination, peer, &given, now);
        self.base = Some(base);
    }

    fn progress(&mut self, messages: u64) {
        self.progressed(messages, Instant::now());
    }

    fn ended(&mut self, report: &Report<'_>) {
        self.active = None;
        if let Some(conventions) = self.metrics.0.registry.conventions() {
            let is_grpc = self.measurement.is_grpc();
            conventions.ended(report, is_grpc, self.called.as_deref());
        }
        self.measurement.reported(report);
        self.reached(report);
        // A client that opens no span of its own has that of the request that it calls for.
        let request = || SpanIds::sampled(report.exchange.and_then(Exchange::trace));
        let span = self.span.or_else(request);
        self.count(report.end, report.ended, span);
    }
}

impl Begin for ClientMetrics {
    type Watch = ClientRecord;
    type Body<B: Body> = CountingBody<B>;

    fn begin<B: Body>(
        &self,
        request: Request<B>,
    ) -> (Request<CountingBody<B>>, Record<ClientRecord>) {
        let now = Instant::now();
        let (request, body) = CountingBody::wrap(request);
        let (mut head, inner) = request.into_parts();
        let watch = Self::begin(self, &mut head, body.clone(), now);
        let exchange = context::current();
        let record = Record::new(Direction::Outbound, &head, exchange, body, now, watch);
        (Request::from_parts(head, inner), record)
    }
}

/// Where calls to a host go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// As the host reads: a service of the mesh, or outside it.
    Host,
    /// Known to be outside the mesh.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only the mesh's client knows it")
    )]
    Outside,
    /// No such host is known, and the call is refused.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only the mesh's client refuses hosts")
    )]
    Nowhere,
}

impl Client {
    fn destination(&self, host: &str, reach: Reached) -> Arc<Destination> {
        let hash = self.hasher.hash_one(host);
        let is = |known: &Arc<Destination>| *known.host == *host && known.reach == reach;
        if let Some(known) = self.destinations.get(hash, is) {
            return Arc::clone(known);
        }
        let is_full = self.destination_count.load(Ordering::Relaxed) >= MAX_DESTINATIONS;
        if is_full || host.len() > MAX_HOST {
            return Arc::clone(&self.other);
        }
        let new = Arc::new(Destination {
            host: host.into(),
            reach,
            service: Some(match reach {
                Reached::Host => ServiceName::from_host(host, self.local.namespace()),
                Reached::Outside => ServiceName::of_external(host, self.local.namespace()),
                Reached::Nowhere => ServiceName::refused(host),
            }),
            peers: Peers::new(Memo::new()),
        });
        match self.destinations.get_or_add(hash, is, new) {
            Some((known, is_new)) => {
                self.destination_count
                    .fetch_add(usize::from(is_new), Ordering::Relaxed);
                Arc::clone(known)
            }
            None => Arc::clone(&self.other),
        }
    }

    fn base_of(
        &self,
        destination: &Destination,
        peer: Option<&Peer>,
        given: &ReceivedMetadata,
        now: Instant,
    ) -> BaseId {
        let service = destination.service.as_ref();
        let lookup = Lookup {
            table: self.registry.table(),
            reads_plaintext: self.registry.options().reads_plaintext,
            overflow: self.overflow,
            now,
        };
        destination
            .peers
            .base(peer, given, lookup, |remote, on_missing| {
                self.base(service, remote, on_missing)
            })
    }

    fn base(
        &self,
        service: Option<&ServiceName>,
        remote: &RemoteLabels<'_>,
        on_missing: OnMissing,
    ) -> Interned {
        let destination = remote.labels();
        let mut service = service.map(ServiceName::labels).unwrap_or_default();
        service.namespace = service.namespace.or(destination.namespace);
        let labels = BaseLabels {
            reporter: "source",
            source: self.local.labels(remote.is_tls),
            destination,
            service,
            // The caller's sidecar never reports it.
            security_policy: "unknown",
        };
        self.registry
            .table()
            .base(&labels, self.overflow, on_missing)
    }
}

fn host(request: &request::Parts) -> &str {
    let header = || {
        let host = request.headers.get(header::HOST)?.to_str().ok()?;
        // An IPv6 address keeps its brackets: the port is what follows the last colon after them.
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(name),
            _ => Some(host),
        }
    };
    request.uri.host().or_else(header).unwrap_or_default()
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetrics")
            .field("local", &self.0.local)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRecord")
            .field("measurement", &self.measurement)
            .field("host", &self.destination.host)
            .finish_non_exhaustive()
    }
}

/// The number of hosts that are remembered. Calls to more hosts are counted under a destination
/// that is `unknown`.
const MAX_DESTINATIONS: usize = 1024;
/// The longest name that DNS has. Calls to a longer host are counted as calls to one too many.
const MAX_HOST: usize = 255;
