//! One address of an upstream, with its pool of connections and its health.

use std::future::{Future, ready};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::background::{Background, Dialing};
use super::connect_error::{Failure, NoConnection};
use super::connection::dial::{Address, Dialer, Target};
use super::connection::http1::{Http1, IdleList};
use super::connection::http2::{Http2, Joined, SharedConnections, StreamGuard};
use super::connection::origin::Origin;
use super::connection::stream::MeshStream;
use super::health::EndpointHealth;
use super::picker::Health;
use crate::context::Peer;
use crate::mesh::ClientBody;
use crate::message::CalledServer;
use crate::propagation::Try;
use crate::tls::Protocol;

/// One address of an upstream, the identity that must answer there, and the connections to it.
#[derive(Debug)]
pub(in crate::mesh) struct Endpoint {
    pub(in crate::mesh) address: Address,
    /// The same for reports; `None` where DNS is asked for every connection.
    pub(in crate::mesh) server: Option<Arc<CalledServer>>,
    target: Arc<Target>,
    http1: Arc<IdleList>,
    http2: Arc<SharedConnections>,
    health: Arc<EndpointHealth>,
    background: Background,
}

/// A connection to an endpoint, checked out for one call.
pub(in crate::mesh) struct Checkout {
    kind: Kind,
    pub(in crate::mesh) origin: Origin,
}

enum Kind {
    Http1(Http1, Arc<IdleList>),
    Http2(Joined),
}

/// A response, and what is held until its body has been read.
pub(in crate::mesh) struct Answer {
    pub(in crate::mesh) response: Response<Incoming>,
    pub(in crate::mesh) stream: Option<StreamGuard>,
    /// The try that got it, where tries have spans.
    pub(in crate::mesh) tried: Option<Try>,
}

impl Endpoint {
    pub(super) fn new(address: Address, target: Arc<Target>) -> Self {
        let server = match address {
            Address::Socket(remote) => Some(Arc::new(CalledServer {
                remote,
                local: None,
                version: None,
                peer: None,
            })),
            Address::Dns { .. } => None,
        };
        Self {
            address,
            server,
            target,
            http1: Arc::default(),
            http2: Arc::default(),
            health: Arc::default(),
            background: Background::default(),
        }
    }

    /// The same endpoint with its connections; new ones are made to `target`.
    pub(super) fn aimed_at(self: &Arc<Self>, target: &Arc<Target>) -> Arc<Self> {
        if Arc::ptr_eq(&self.target, target) {
            return Arc::clone(self);
        }
        Arc::new(Self {
            address: self.address.clone(),
            server: self.server.clone(),
            target: Arc::clone(target),
            http1: Arc::clone(&self.http1),
            http2: Arc::clone(&self.http2),
            health: Arc::clone(&self.health),
            background: self.background.clone(),
        })
    }

    pub(super) fn health(&self) -> Health {
        self.health.get()
    }

    /// Connects to an endpoint that was down, once that is due, without a call that waits for it.
    ///
    /// It never takes a connection of the pool: that one may be open while no new one can be made.
    pub(super) fn probe(&self, dialer: &Arc<Dialer>, is_http2: bool) {
        if !self.health.begin_probe() {
            return;
        }
        let generation = dialer.generation(&self.target);
        if is_http2 {
            let connect = || self.connect_http2(dialer, generation);
            self.http2.make_another(generation, connect);
        } else {
            // No call waits for it, so it goes on in the background.
            drop(self.connect_http1(dialer, generation));
        }
    }

    /// As [`probe`](Self::probe), where connections carry no HTTP: the connection is closed at once.
    pub(super) fn probe_tcp(&self, dialer: &Arc<Dialer>) {
        if self.health.begin_probe() {
            let dialing = self.connect(dialer, Protocol::Tcp, |stream| {
                ready(Ok::<_, Failure>(stream))
            });
            drop(self.background.dial(dialing, drop));
        }
    }

    /// Opens an HTTP/2 connection that no call waits for, unless one is open or being made.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(super) fn warm(&self, dialer: &Arc<Dialer>) {
        let generation = dialer.generation(&self.target);
        if !self.http2.has_room(generation) {
            let connect = || self.connect_http2(dialer, generation);
            self.http2.make_another(generation, connect);
        }
    }

    /// Returns a connection for a call, and opens one if none is idle.
    pub(in crate::mesh) async fn checkout(
        &self,
        dialer: &Arc<Dialer>,
        is_http2: bool,
    ) -> Result<Checkout, NoConnection> {
        // The generation is read before the connection is made, so a connection is never labelled
        // newer than it is.
        let generation = dialer.generation(&self.target);
        if is_http2 {
            let connect = || self.connect_http2(dialer, generation);
            let joined = self.http2.join(generation, connect).await?;
            return Ok(Checkout {
                origin: joined.origin,
                kind: Kind::Http2(joined),
            });
        }
        let (connection, origin) = self.checkout_http1(dialer, generation).await?;
        Ok(Checkout {
            kind: Kind::Http1(connection, Arc::clone(&self.http1)),
            origin,
        })
    }

    /// Takes an idle connection or makes one. A connection that another call returns meanwhile is
    /// taken if it is there first; the one that is being made then goes to the pool.
    async fn checkout_http1(
        &self,
        dialer: &Arc<Dialer>,
        generation: u64,
    ) -> Result<(Http1, Origin), NoConnection> {
        if let Some(idle) = self.http1.take(generation) {
            return Ok((idle, Origin::Pool));
        }
        let connecting = self.connect_http1(dialer, generation);
        tokio::select! {
            biased;
            returned = self.http1.returned(generation) => Ok((returned, Origin::Pool)),
            made = connecting => Ok((made?, Origin::OwnDial)),
        }
    }

    fn connect_http1(
        &self,
        dialer: &Arc<Dialer>,
        generation: u64,
    ) -> Dialing<Result<Http1, NoConnection>> {
        let (idle, pool) = (Arc::clone(&self.http1), Arc::clone(&self.http1));
        let begin = async move |stream| idle.begin(stream, generation).await;
        let connecting = self.connect(dialer, Protocol::Http1, begin);
        self.background.dial(connecting, move |made| {
            if let Ok(connection) = made {
                pool.put_back(connection);
            }
        })
    }

    fn connect_http2(
        &self,
        dialer: &Arc<Dialer>,
        generation: u64,
    ) -> impl Future<Output = Result<Arc<Http2>, NoConnection>> + Send + use<> {
        let pool = Arc::clone(&self.http2);
        let begin = async move |stream| pool.begin(stream, generation).await;
        self.connect(dialer, Protocol::Http2, begin)
    }

    /// Opens a connection that belongs to no pool.
    pub(in crate::mesh) async fn dial(
        &self,
        dialer: &Arc<Dialer>,
        protocol: Protocol,
    ) -> Result<MeshStream, Failure> {
        let dialing = self.connect(dialer, protocol, |stream| ready(Ok(stream)));
        // The health is what remains of a dial that comes too late.
        self.background.dial(dialing, drop).await
    }

    /// Opens a connection and begins its protocol. Records whether that succeeded, whoever runs the
    /// future.
    fn connect<T, E, F, B>(
        &self,
        dialer: &Arc<Dialer>,
        protocol: Protocol,
        begin: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F, B>
    where
        T: Send,
        E: From<Failure> + Send,
        F: FnOnce(MeshStream) -> B + Send,
        B: Future<Output = Result<T, E>> + Send,
    {
        let (dialer, health) = (Arc::clone(dialer), Arc::clone(&self.health));
        let (address, target) = (self.address.clone(), Arc::clone(&self.target));
        async move {
            let attempt = health.begin();
            let made = match dialer.dial(&address, &target, protocol).await {
                Ok(stream) => begin(stream).await,
                Err(failure) => Err(failure.into()),
            };
            health.note(&attempt, made.is_ok());
            made
        }
    }
}

impl Checkout {
    /// The server at its other end.
    pub(in crate::mesh) fn server(&self) -> Option<Arc<CalledServer>> {
        let facts = match &self.kind {
            Kind::Http1(connection, _) => &connection.facts,
            Kind::Http2(joined) => &joined.connection.facts,
        };
        facts.server.clone()
    }

    /// Sends a request. If the connection had not begun to send it, the error returns it.
    pub(in crate::mesh) async fn send(
        self,
        request: Request<ClientBody>,
    ) -> Result<Answer, TrySendError<Request<ClientBody>>> {
        let (mut response, facts, stream) = match self.kind {
            Kind::Http1(mut connection, idle) => {
                let response = connection.send(request).await?;
                let facts = Arc::clone(&connection.facts);
                idle.put_back(connection);
                (response, facts, None)
            }
            Kind::Http2(joined) => {
                let response = joined.connection.send(request).await?;
                let facts = Arc::clone(&joined.connection.facts);
                (response, facts, Some(joined.stream))
            }
        };
        if let Some(peer) = facts.peer() {
            response.extensions_mut().insert::<Peer>(peer.clone());
        }
        Ok(Answer {
            response,
            stream,
            tried: None,
        })
    }
}
