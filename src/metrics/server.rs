use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{request, response};

use super::connection::Connection;
use super::peer::local_labels::Own;
use super::peer::metadata::{Asked, Instance, OwnMetadata, Received};
use super::peer::peers::{Peers, Seen, Sight};
use super::peer::service_name::ServiceName;
use super::record::Record;
use super::registry::Registry;
use super::store::append_only_map::Grow;
use super::store::labels::BaseLabels;
use super::store::series::BaseId;
use super::store::table::{Interned, May};
use crate::context::Peer;
use crate::identity::{SpiffeId, Workload};
use crate::message::{ByteCount, End, ResponseFlags};

/// The metrics of the calls that come in: Istio's series with `reporter="destination"`. Cheap to clone.
///
/// Three steps for whoever composes layers: [`begin`](Self::begin) with the request, [`answer`](Self::answer) with the response head,
/// [`finish`](Self::finish) once, when the response body has ended or the exchange was dropped.
/// [`MetricsLayer`](super::MetricsLayer) does just that.
#[derive(Clone)]
pub struct ServerMetrics(Arc<Server>);

struct Server {
    registry: Registry,
    own: Own,
    workload: Workload,
    metadata: Option<OwnMetadata>,
    overflow: BaseId,
    /// One per port we are called on.
    ports: Grow<Port, 4>,
}

struct Port {
    number: Option<u16>,
    service: ServiceName,
    peers: Peers,
}

/// One request that came in and has not ended. Give it back to [`ServerMetrics::finish`], else it is not counted.
#[derive(Debug)]
#[must_use = "a record that is not finished is not counted"]
pub struct ServerRecord {
    record: Record,
    base: BaseId,
    asked: Asked,
}

impl ServerMetrics {
    pub(super) fn new(
        registry: &Registry,
        workload: &Workload,
        identity: Option<&SpiffeId>,
    ) -> Self {
        let own = Own::new(workload, identity);
        let overflow = registry.table().overflow_base(&BaseLabels {
            destination: own.labels(true),
            ..BaseLabels::unknown("destination", "unknown")
        });
        Self(Arc::new(Server {
            registry: registry.clone(),
            metadata: OwnMetadata::new(workload, &Instance::from_env(workload)),
            own,
            workload: workload.clone(),
            overflow,
            ports: Grow::new(),
        }))
    }

    /// A request came in: starts its clock, finds the series of its caller, and takes the peer metadata headers out of the request.
    ///
    /// `peer` is who calls, as the TLS acceptor left it; `None` counts as a plaintext caller. `received` counts the bytes of the request
    /// body (see [`CountingBody`](crate::message::CountingBody)).
    pub fn begin(
        &self,
        request: &mut request::Parts,
        peer: Option<&Peer>,
        received: ByteCount,
        now: Instant,
    ) -> ServerRecord {
        let record = Record::new(request, received, now);
        let said = Received::take(&mut request.headers);
        ServerRecord {
            record,
            base: self.0.base_of(peer, &said, now),
            asked: match peer.and_then(Peer::spiffe_id) {
                Some(_) => said.asked(),
                None => Asked::default(),
            },
        }
    }

    /// The response head is known: keeps its status and size, and answers the caller's peer metadata with ours, header by header, if the
    /// caller has proven an identity.
    ///
    /// [`ResponseFlags`] in the response's extensions are taken over.
    pub fn answer(&self, record: &mut ServerRecord, response: &mut response::Parts) {
        if let Some(metadata) = &self.0.metadata {
            metadata.add(&mut response.headers, record.asked);
        }
        record.record.answered(response);
    }

    /// A gRPC response has sent so many messages by now: reports those of both ways, at most every five seconds. What is never reported
    /// here is reported at the end.
    pub fn progress(&self, record: &mut ServerRecord, messages: u64, now: Instant) {
        let table = self.0.registry.table();
        record.record.progressed(table, record.base, messages, now);
    }

    /// The exchange has ended: counts it, in all families at once.
    ///
    /// Without [`answer`](Self::answer) before, the response code is `0`. A cancelled end adds the flag `DC`; a failed one is `UC` unless flags
    /// say better.
    pub fn finish(&self, mut record: ServerRecord, end: End, now: Instant) {
        let Server {
            registry, overflow, ..
        } = &*self.0;
        let table = registry.table();
        record
            .record
            .add_to(table, record.base, *overflow, end, now);
    }

    /// A connection that carries no HTTP was opened to us.
    #[must_use]
    pub fn connection(&self, peer: &Peer) -> Connection {
        let base = self
            .0
            .base_of(Some(peer), &Received::default(), Instant::now());
        Connection::open(&self.0.registry, base, self.0.overflow)
    }
}

impl ServerRecord {
    /// The bytes of the request's body that have been read so far.
    #[must_use]
    pub fn request_bytes(&self) -> u64 {
        self.record.request_bytes()
    }

    /// Adds response flags.
    pub fn add_flags(&mut self, flags: ResponseFlags) {
        self.record.add_flags(flags);
    }
}

impl Server {
    fn port(&self, peer: Option<&Peer>) -> Option<&Port> {
        let number = peer.map(|peer| peer.local_addr().port());
        let hash = number.map_or(u64::MAX, |number| u64::from(number) << 32);
        let is = |port: &Port| port.number == number;
        if let Some(port) = self.ports.get(hash, is) {
            return Some(port);
        }
        let port = Port {
            number,
            service: ServiceName::behind(&self.workload, number),
            peers: Peers::new(),
        };
        self.ports.get_or_add(hash, is, port).map(|(port, _)| port)
    }

    fn base_of(&self, peer: Option<&Peer>, said: &Received, now: Instant) -> BaseId {
        let Some(port) = self.port(peer) else {
            return self.overflow;
        };
        let sight = Sight {
            table: self.registry.table(),
            overflow: self.overflow,
            now,
        };
        port.peers.base(peer, said, sight, |seen, may| {
            self.base(&port.service, seen, may)
        })
    }

    fn base(&self, service: &ServiceName, seen: &Seen<'_>, may: May) -> Interned {
        let labels = BaseLabels {
            reporter: "destination",
            source: seen.labels(),
            destination: self.own.labels(seen.is_tls),
            service: service.labels(),
            security_policy: if self.own.has_principal() {
                seen.security_policy()
            } else {
                "none"
            },
        };
        self.registry.table().base(&labels, self.overflow, may)
    }
}

impl fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMetrics")
            .field("own", &self.0.own)
            .finish_non_exhaustive()
    }
}
