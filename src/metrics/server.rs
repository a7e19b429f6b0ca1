use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, request, response};
use http_body::Body;

use super::connection::Connection;
use super::conventions::active::ActiveRequest;
use super::measurement::{Fields, Measurement};
use super::peer::local_labels::LocalLabels;
use super::peer::local_metadata::LocalMetadata;
use super::peer::memo::Memo;
use super::peer::metadata::{PresentHeaders, ReceivedMetadata};
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
use crate::context::{Exchange, Peer};
use crate::identity::{SpiffeId, Workload};
use crate::message::{
    Begin, ByteCount, CountingBody, Direction, End, Record, Report, ResponseFlags, Watch,
};

/// The metrics of the calls that come in: Istio's series with `reporter="destination"`. Cheap to
/// clone.
///
/// [`MetricsLayer`](super::MetricsLayer) counts with them. Code that composes its own layers gives
/// what [`begin`](Self::begin) returns to a [`Record`], alone or as a field of its own
/// [`Watch`].
#[derive(Clone)]
pub struct ServerMetrics(Arc<Server>);

struct Server {
    registry: Registry,
    local: LocalLabels,
    workload: Workload,
    metadata: Option<LocalMetadata>,
    overflow: BaseId,
    memo: Memo,
    /// One for each port of this workload that is called.
    ports: AppendOnlyMap<Port, 4>,
}

struct Port {
    number: Option<u16>,
    service: ServiceName,
    peers: Peers,
}

/// One request that came in and has not ended. It is counted when a [`Record`] reports its end, or
/// when it is [finished](Self::finish) by hand.
#[derive(Debug)]
#[must_use = "a record that is not finished is not counted"]
pub struct ServerRecord {
    metrics: ServerMetrics,
    measurement: Measurement,
    base: BaseId,
    asked: PresentHeaders,
    active: Option<ActiveRequest>,
}

impl Registry {
    /// Metrics of the calls that come in to this workload.
    ///
    /// The workload's own principal is the one that Istio gives it in its trust domain
    /// (`cluster.local` if it names none). [`server_as`](Self::server_as) sets another.
    #[must_use]
    pub fn server(&self, workload: &Workload) -> ServerMetrics {
        ServerMetrics::new(self, workload, None)
    }

    /// As [`server`](Self::server), with the identity that this workload's certificate holds.
    #[must_use]
    pub fn server_as(&self, workload: &Workload, identity: &SpiffeId) -> ServerMetrics {
        ServerMetrics::new(self, workload, Some(identity))
    }
}

impl ServerMetrics {
    fn new(registry: &Registry, workload: &Workload, identity: Option<&SpiffeId>) -> Self {
        let local = LocalLabels::new(workload, identity);
        let overflow = registry.table().overflow_base(&BaseLabels {
            destination: local.labels(true),
            ..BaseLabels::unknown("destination", "unknown")
        });
        Self(Arc::new(Server {
            registry: registry.clone(),
            metadata: LocalMetadata::new(workload, identity, &registry.options().extra_labels),
            local,
            workload: workload.clone(),
            overflow,
            memo: Memo::new(),
            ports: AppendOnlyMap::new(),
        }))
    }

    /// A request came in: starts its clock, finds the series of its caller, and removes the peer
    /// metadata headers from the request.
    ///
    /// `peer` is the caller as the TLS acceptor verified it; `None` counts as a plaintext caller.
    /// `received` counts the bytes of the request body (see
    /// [`CountingBody`](crate::message::CountingBody)).
    pub fn begin(
        &self,
        request: &mut request::Parts,
        peer: Option<&Peer>,
        received: ByteCount,
        now: Instant,
    ) -> ServerRecord {
        let fields = Fields::read(&request.headers, request.version);
        let measurement = Measurement::new(request, &fields, received, now);
        let given = ReceivedMetadata::take(&mut request.headers, fields.has_metadata);
        let conventions = self.0.registry.conventions();
        let conventions = conventions.filter(|_| !measurement.is_grpc());
        let is_tls = || peer.is_some_and(Peer::is_tls);
        ServerRecord {
            metrics: self.clone(),
            active: conventions.and_then(|it| it.begun(&request.method, is_tls(), None)),
            measurement,
            base: self.0.base_of(peer, &given, now),
            asked: match given.asked() {
                asked if asked.any() && self.0.answers(peer) => asked,
                _ => PresentHeaders::default(),
            },
        }
    }

    /// A connection that carries no HTTP was opened to this workload.
    #[must_use]
    pub fn connection(&self, peer: &Peer) -> Connection {
        let base = self
            .0
            .base_of(Some(peer), &ReceivedMetadata::default(), Instant::now());
        let none = ResponseFlags::none();
        Connection::open(&self.0.registry, base, self.0.overflow, none)
    }
}

impl ServerRecord {
    /// The exchange has ended, and no [`Record`] reports it: counts it, in all families at once.
    ///
    /// Without a response head before, the response code is `0`. A cancelled end adds the flag
    /// `DC`. A failed end adds `UC` if no flag says more.
    pub fn finish(mut self, end: End, now: Instant) {
        self.count(end, now, None);
    }

    /// A gRPC response has sent so many messages by now: 0 while there is none. The messages of
    /// both directions are reported at most every five seconds, and the rest at the end.
    pub fn progressed(&mut self, messages: u64, now: Instant) {
        let registry = &self.metrics.0.registry;
        let side = |plan: &MetricsPlan| plan.server.reporting_interval;
        self.measurement
            .progressed(registry, self.base, messages, now, side);
    }

    /// The values of the exchange for labels with an expression.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn tag(&mut self, tags: TagValues) {
        self.measurement.tag(tags);
    }

    /// The bytes of the heads of request and response, and what is written of the labels.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(crate) fn measured(&self) -> (u64, u64, Option<&str>) {
        let registry = &self.metrics.0.registry;
        self.measurement.measured(registry, Some(self.base))
    }

    fn count(&mut self, end: End, now: Instant, span: Option<SpanIds>) {
        let Server {
            registry, overflow, ..
        } = &*self.metrics.0;
        let bases = (self.base, *overflow);
        self.measurement.add_to(registry, bases, end, now, span);
    }
}

impl Watch for ServerRecord {
    /// Keeps the status and size of the response. A caller that has proven an identity and sent
    /// peer metadata headers gets the same headers back, with the metadata of this workload.
    fn answered(&mut self, head: &mut response::Parts) {
        if let Some(metadata) = &self.metrics.0.metadata {
            metadata.add(&mut head.headers, self.asked);
        }
        self.measurement.answered(head);
    }

    fn progress(&mut self, messages: u64) {
        self.progressed(messages, Instant::now());
    }

    fn ended(&mut self, report: &Report<'_>) {
        self.measurement.reported(report);
        self.active = None;
        if let Some(conventions) = self.metrics.0.registry.conventions() {
            conventions.ended(report, self.measurement.is_grpc(), None);
        }
        let span = SpanIds::sampled(report.exchange.and_then(Exchange::trace));
        self.count(report.end, report.ended, span);
    }
}

impl Begin for ServerMetrics {
    type Watch = ServerRecord;
    type Body<B: Body> = CountingBody<B>;

    fn begin<B: Body>(
        &self,
        request: Request<B>,
    ) -> (Request<CountingBody<B>>, Record<ServerRecord>) {
        let now = Instant::now();
        let (request, body) = CountingBody::wrap(request);
        let (mut head, inner) = request.into_parts();
        let exchange = Exchange::from_request(&mut head);
        let watch = Self::begin(self, &mut head, exchange.peer(), body.clone(), now);
        let record = Record::new(Direction::Inbound, &head, Some(exchange), body, now, watch);
        (Request::from_parts(head, inner), record)
    }
}

impl Server {
    /// Whether a caller that asks gets our metadata.
    fn answers(&self, peer: Option<&Peer>) -> bool {
        peer.and_then(Peer::spiffe_id).is_some() || self.registry.options().reads_plaintext
    }

    fn port(&self, peer: Option<&Peer>) -> Option<&Port> {
        let number = peer.map(|peer| peer.local_addr().port());
        let hash = number.map_or(u64::MAX, |number| u64::from(number) << 32);
        let is = |port: &Port| port.number == number;
        if let Some(port) = self.ports.get(hash, is) {
            return Some(port);
        }
        let port = Port {
            number,
            service: ServiceName::for_port(&self.workload, number),
            peers: Peers::new(self.memo),
        };
        self.ports.get_or_add(hash, is, port).map(|(port, _)| port)
    }

    fn base_of(&self, peer: Option<&Peer>, given: &ReceivedMetadata, now: Instant) -> BaseId {
        // A connection has one port, so its caller is found without a look at the ports, too.
        if given.value.is_none()
            && let Some(base) = peer.and_then(|peer| self.memo.get(peer))
        {
            return base;
        }
        let Some(port) = self.port(peer) else {
            return self.overflow;
        };
        let lookup = Lookup {
            table: self.registry.table(),
            reads_plaintext: self.registry.options().reads_plaintext,
            overflow: self.overflow,
            now,
        };
        port.peers.base(peer, given, lookup, |remote, on_missing| {
            self.base(&port.service, remote, on_missing)
        })
    }

    fn base(
        &self,
        service: &ServiceName,
        remote: &RemoteLabels<'_>,
        on_missing: OnMissing,
    ) -> Interned {
        let labels = BaseLabels {
            reporter: "destination",
            source: remote.labels(),
            destination: self.local.labels(remote.is_tls),
            service: service.labels(),
            security_policy: if self.local.has_principal() {
                remote.security_policy()
            } else {
                "none"
            },
        };
        self.registry
            .table()
            .base(&labels, self.overflow, on_missing)
    }
}

impl fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMetrics")
            .field("local", &self.0.local)
            .finish_non_exhaustive()
    }
}
