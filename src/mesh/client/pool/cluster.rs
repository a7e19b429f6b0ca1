//! One upstream on one port, and the order in which a call tries its endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::connection::dial::{Address, Dialer, ExternalTls, Target};
use super::endpoint::Endpoint;
use super::names::Name;
use super::picker::Balance;
use crate::propagation::Destination;

/// An upstream on one port: its endpoints and the counter that shares calls among them.
#[derive(Debug)]
pub(in crate::mesh) struct Cluster {
    target: Arc<Target>,
    /// What spans say of it.
    pub(in crate::mesh) destination: Arc<Destination>,
    sources: Arc<[Source]>,
    balance: Balance,
    turn: AtomicUsize,
    endpoints: ArcSwap<Endpoints>,
}

/// A source of addresses of an upstream.
#[derive(Clone, Debug)]
pub(in crate::mesh) enum Source {
    Fixed(Address),
    Named(Arc<Name>),
}

/// The endpoints that one DNS answer gives.
#[derive(Debug)]
struct Endpoints {
    /// The value of [`Cluster::version`] when this list was made.
    version: u64,
    list: Vec<Arc<Endpoint>>,
}

/// The order in which one call tries endpoints, until it reaches one.
#[derive(Debug)]
pub(in crate::mesh) struct EndpointOrder {
    endpoints: Arc<Endpoints>,
    balance: Balance,
    turn: usize,
    tried: Vec<usize>,
}

impl Cluster {
    pub(super) fn new(target: Target, destination: Destination, sources: Arc<[Source]>) -> Self {
        Self::with(Arc::new(target), Arc::new(destination), sources, &[])
    }

    /// The same upstream with new addresses. An endpoint that stays keeps its connections.
    pub(super) fn moved_to(&self, sources: Arc<[Source]>) -> Self {
        self.aimed_at(Arc::clone(&self.target), sources)
    }

    /// The same host outside the mesh. New connections verify it by this TLS; an endpoint that
    /// stays keeps the connections that it has.
    pub(super) fn verified_by(
        &self,
        tls: Option<ExternalTls>,
        sources: Option<Arc<[Source]>>,
    ) -> Self {
        let target = Arc::new(self.target.with_tls(tls));
        self.aimed_at(target, sources.unwrap_or_else(|| Arc::clone(&self.sources)))
    }

    fn aimed_at(&self, target: Arc<Target>, sources: Arc<[Source]>) -> Self {
        let destination = Arc::clone(&self.destination);
        Self::with(target, destination, sources, &self.endpoints.load().list)
    }

    fn with(
        target: Arc<Target>,
        destination: Arc<Destination>,
        sources: Arc<[Source]>,
        known: &[Arc<Endpoint>],
    ) -> Self {
        let first = Endpoints {
            version: version(&sources),
            list: endpoints(&sources, &target, known),
        };
        Self {
            target,
            destination,
            sources,
            balance: Balance::default(),
            turn: AtomicUsize::new(0),
            endpoints: ArcSwap::from_pointee(first),
        }
    }

    /// The order in which a new call tries the current endpoints.
    pub(in crate::mesh) fn endpoint_order(&self) -> EndpointOrder {
        EndpointOrder {
            endpoints: self.current(),
            balance: self.balance,
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            tried: Vec::new(),
        }
    }

    /// Connects to the first endpoints over HTTP/2, where no connection is open.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(in crate::mesh) fn warm(&self, dialer: &Arc<Dialer>) {
        for endpoint in self.current().list.iter().take(MOST_WARM) {
            endpoint.warm(dialer);
        }
    }

    fn current(&self) -> Arc<Endpoints> {
        let version = version(&self.sources);
        let current = self.endpoints.load();
        if current.version == version {
            return Arc::clone(&current);
        }
        // DNS has a new answer. Several calls may rebuild the list at once; one of the lists is
        // kept.
        self.endpoints.rcu(|current| Endpoints {
            version,
            list: endpoints(&self.sources, &self.target, &current.list),
        });
        self.endpoints.load_full()
    }

    /// The DNS names that addresses come from, joined for an error.
    pub(in crate::mesh) fn names(&self) -> String {
        let names = self.sources.iter().map(|source| match source {
            Source::Fixed(address) => address.to_string(),
            Source::Named(name) => name.to_string(),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

/// So many endpoints of a cluster are connected to before they are called.
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
const MOST_WARM: usize = 4;

/// A number that changes when DNS gives a new answer for any name. It is read before the addresses
/// are, so a list is never labelled newer than it is.
fn version(sources: &[Source]) -> u64 {
    let versions = sources.iter().map(|source| match source {
        Source::Fixed(_) => 0,
        Source::Named(name) => name.version(),
    });
    versions.sum()
}

/// One endpoint for each address; endpoints that exist already are reused.
fn endpoints(
    sources: &[Source],
    target: &Arc<Target>,
    known: &[Arc<Endpoint>],
) -> Vec<Arc<Endpoint>> {
    let mut addresses = Vec::new();
    for source in sources {
        match source {
            Source::Fixed(address) => addresses.push(address.clone()),
            Source::Named(name) => name.add_to(&mut addresses),
        }
    }
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    let endpoint = |address: Address| match known.iter().find(|known| known.address == address) {
        Some(known) => known.aimed_at(target),
        None => Arc::new(Endpoint::new(address, Arc::clone(target))),
    };
    addresses.into_iter().map(endpoint).collect()
}

impl EndpointOrder {
    /// The next endpoint to try; `None` when all have been tried or there are none. A caller that
    /// has pools passes a `prober`, which reconnects to failed endpoints.
    pub(in crate::mesh) fn next(&self, prober: Option<(&Arc<Dialer>, bool)>) -> Option<Candidate> {
        self.pick(|due| {
            if let Some((dialer, is_http2)) = prober {
                due.probe(dialer, is_http2);
            }
        })
    }

    /// As [`next`](Self::next), for a connection that carries no HTTP.
    pub(in crate::mesh) fn next_for_tcp(&self, dialer: &Arc<Dialer>) -> Option<Candidate> {
        self.pick(|due| due.probe_tcp(dialer))
    }

    /// The next endpoint to try. `probe` gets one that has failed and is due.
    fn pick(&self, probe: impl FnOnce(&Endpoint)) -> Option<Candidate> {
        let list = &self.endpoints.list;
        let health = |index: usize| list.get(index).map(|endpoint| endpoint.health());
        let health = |index| health(index).unwrap_or_default();
        let pick = self
            .balance
            .pick(list.len(), self.turn, &self.tried, health)?;
        if let Some(due) = pick.probe.and_then(|index| list.get(index)) {
            probe(due);
        }
        let endpoint = list.get(pick.index)?;
        Some(Candidate {
            endpoint: Arc::clone(endpoint),
            index: pick.index,
        })
    }

    /// Records that the endpoint could not be reached.
    pub(in crate::mesh) fn pass_over(&mut self, candidate: &Candidate) {
        self.tried.push(candidate.index);
    }
}

/// An endpoint that a call may use.
pub(in crate::mesh) struct Candidate {
    pub(in crate::mesh) endpoint: Arc<Endpoint>,
    index: usize,
}
