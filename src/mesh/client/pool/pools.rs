use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::MeshConnector;
use super::failures::Failures;
use super::retired::Ends;
use super::upstreams::Upstreams;
use crate::mesh::ClientBody;
use crate::tls::{Connector, Credentials, Protocol};

/// The connections that the client keeps, of one identity.
///
/// A new identity or new roots mean a new pool: connections of the old one serve what they are serving, and nothing else. So does a connection that
/// ends for another reason, its age or the end of its server's certificate: that is rare, and its fellows are as easily made anew.
#[derive(Debug)]
pub(in crate::mesh) struct Pools {
    current: ArcSwap<Pool>,
    connector: Connector,
    /// None in plaintext, where one pool lasts.
    credentials: Option<Credentials>,
    upstreams: Arc<Upstreams>,
    failures: Arc<Failures>,
    timeout: Duration,
}

#[derive(Debug)]
pub(in crate::mesh) struct Pool {
    generation: u64,
    http1: Client<MeshConnector, ClientBody>,
    http2: Client<MeshConnector, ClientBody>,
    ends: Arc<Ends>,
}

impl Pools {
    pub(in crate::mesh) fn new(
        connector: Connector,
        credentials: Option<Credentials>,
        upstreams: Arc<Upstreams>,
        timeout: Duration,
    ) -> Self {
        let (http1, http2) = (Protocol::Http1, Protocol::Http2);
        let (ends, failures) = (Arc::default(), Arc::<Failures>::default());
        let make = |protocol| MeshConnector {
            connector: connector.clone(),
            upstreams: Arc::clone(&upstreams),
            protocol,
            turn: Arc::default(),
            ends: Arc::clone(&ends),
            failures: Arc::clone(&failures),
            timeout,
        };
        let pool = Pool::new(
            generation_of(credentials.as_ref()),
            make(http1),
            make(http2),
        );
        Self {
            current: ArcSwap::from_pointee(pool),
            connector,
            credentials,
            upstreams,
            failures,
            timeout,
        }
    }

    /// A connector for this protocol, whose connections are nobody's here.
    pub(in crate::mesh) fn connector(&self, protocol: Protocol, ends: &Arc<Ends>) -> MeshConnector {
        MeshConnector {
            connector: self.connector.clone(),
            upstreams: Arc::clone(&self.upstreams),
            protocol,
            turn: Arc::default(),
            ends: Arc::clone(ends),
            failures: Arc::clone(&self.failures),
            timeout: self.timeout,
        }
    }

    /// The pool of the current identity.
    fn current(&self) -> Arc<Pool> {
        let pool = self.current.load();
        if pool.generation == generation_of(self.credentials.as_ref()) && !pool.ends.any() {
            return Arc::clone(&pool);
        }
        // Read before the connectors are made: a pool is never taken for younger than it is.
        let generation = generation_of(self.credentials.as_ref());
        let ends = Arc::default();
        let (http1, http2) = (
            self.connector(Protocol::Http1, &ends),
            self.connector(Protocol::Http2, &ends),
        );
        // Two requests may both come here: one pool more is made and forgotten.
        let fresh = Arc::new(Pool::new(generation, http1, http2));
        self.current.store(Arc::clone(&fresh));
        fresh
    }

    /// Why connections could not be made.
    pub(in crate::mesh) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Sends a request on a connection of the current identity that is not about to end.
    pub(in crate::mesh) fn send(&self, request: Request<ClientBody>, is_http2: bool) -> Sending {
        let pool = self.current();
        let client = if is_http2 { &pool.http2 } else { &pool.http1 };
        client.request(request)
    }
}

impl Pool {
    fn new(generation: u64, http1: MeshConnector, http2: MeshConnector) -> Self {
        let ends = Arc::clone(&http1.ends);
        let client = |connector: MeshConnector| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(MOST_IDLE)
                .http2_only(connector.protocol == Protocol::Http2)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(KEEP_ALIVE)
                .build(connector)
        };
        Self {
            generation,
            http1: client(http1),
            http2: client(http2),
            ends,
        }
    }
}

fn generation_of(credentials: Option<&Credentials>) -> u64 {
    credentials.map_or(0, Credentials::generation)
}

/// A request on its way.
pub(in crate::mesh) type Sending = legacy::ResponseFuture;

const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Connections of HTTP/1 that wait for a next call, for each host; as many as Envoy opens to one cluster.
const MOST_IDLE: usize = 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
