use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project::pin_project;

use super::ClientBody;
use super::connect::MeshConnector;
use super::ends::Ends;
use super::upstream::Upstreams;
use crate::context::Peer;
use crate::tls::{Connector, Credentials, Protocol};

/// The connections that the client keeps, of one identity.
///
/// A new identity or new roots mean a new pool: connections of the old one serve what they are serving, and nothing else. A connection that
/// ends for another reason, its age or the end of its server's certificate, takes no request once the pool has noticed.
#[derive(Debug)]
pub(super) struct Pools {
    current: ArcSwap<Pool>,
    connector: Connector,
    credentials: Credentials,
    upstreams: Arc<Upstreams>,
    timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Pool {
    generation: u64,
    http1: Client<MeshConnector, ClientBody>,
    http2: Client<MeshConnector, ClientBody>,
    ends: Arc<Ends>,
}

impl Pools {
    pub(super) fn new(
        connector: Connector,
        credentials: Credentials,
        upstreams: Arc<Upstreams>,
        timeout: Duration,
    ) -> Self {
        let (http1, http2) = (Protocol::Http1, Protocol::Http2);
        let ends = Arc::default();
        let make = |protocol| MeshConnector {
            connector: connector.clone(),
            upstreams: Arc::clone(&upstreams),
            protocol,
            turn: Arc::default(),
            ends: Arc::clone(&ends),
            timeout,
        };
        let pool = Pool::new(credentials.generation(), make(http1), make(http2));
        Self {
            current: ArcSwap::from_pointee(pool),
            connector,
            credentials,
            upstreams,
            timeout,
        }
    }

    /// A connector for this protocol, whose connections are nobody's here.
    pub(super) fn connector(&self, protocol: Protocol, ends: &Arc<Ends>) -> MeshConnector {
        MeshConnector {
            connector: self.connector.clone(),
            upstreams: Arc::clone(&self.upstreams),
            protocol,
            turn: Arc::default(),
            ends: Arc::clone(ends),
            timeout: self.timeout,
        }
    }

    /// The pool of the current identity.
    fn current(&self) -> Arc<Pool> {
        let pool = self.current.load();
        if pool.generation == self.credentials.generation() {
            return Arc::clone(&pool);
        }
        // Read before the connectors are made: a pool is never taken for younger than it is.
        let generation = self.credentials.generation();
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

    /// Sends a request on a connection of the current identity.
    pub(super) fn send(&self, mut request: Request<ClientBody>, is_http2: bool) -> Sending {
        let pool = self.current();
        let watched = pool.ends.any().then(|| Watched {
            connection: capture_connection(&mut request),
            ends: Arc::clone(&pool.ends),
        });
        let client = if is_http2 { &pool.http2 } else { &pool.http1 };
        Sending {
            response: client.request(request),
            watched: watched.map(Box::new),
        }
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

/// A request on its way.
#[pin_project]
pub(super) struct Sending {
    #[pin]
    response: legacy::ResponseFuture,
    /// While a connection of the pool is ending; boxed, as that is rare.
    watched: Option<Box<Watched>>,
}

/// Which connection a request went on, and which it had better not have.
struct Watched {
    connection: CaptureConnection,
    ends: Arc<Ends>,
}

impl Watched {
    /// Has the pool forget a connection that is ending.
    fn forget_ending(&self) {
        let connected = self.connection.connection_metadata();
        let Some(connected) = &*connected else {
            return;
        };
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        let peer = extras.get::<Peer>();
        if peer.is_some_and(|peer| self.ends.has(peer.local_addr())) {
            connected.poison();
        }
    }
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, legacy::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx));
        if let Some(watched) = this.watched.take() {
            watched.forget_ending();
        }
        Poll::Ready(response)
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
