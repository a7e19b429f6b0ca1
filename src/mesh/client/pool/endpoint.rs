//! One address of an upstream, with its pool of connections and its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::Instant;

use super::connect_error::{Failure, NoConnection};
use super::connection::dial::{Address, Dialer, Target};
use super::connection::http1::{Http1, IdleList};
use super::connection::http2::{Joined, SharedConnections, StreamGuard};
use super::connection::stream::MeshStream;
use super::picker::Health;
use crate::context::Peer;
use crate::mesh::ClientBody;
use crate::tls::Protocol;

/// One address of an upstream, the identity that must answer there, and the connections to it.
#[derive(Debug)]
pub(in crate::mesh) struct Endpoint {
    pub(in crate::mesh) address: Address,
    target: Arc<Target>,
    http1: Arc<IdleList>,
    http2: Arc<SharedConnections>,
    born: Instant,
    /// After a failed connection attempt: when to try again, in milliseconds after `born`.
    /// Otherwise 0.
    retry_at: AtomicU64,
}

/// A connection to an endpoint, checked out for one call.
pub(in crate::mesh) struct Checkout {
    kind: Kind,
    /// Whether it was open before the call. The server may have closed it meanwhile.
    pub(in crate::mesh) is_reused: bool,
}

enum Kind {
    Http1(Http1, Arc<IdleList>),
    Http2(Joined),
}

/// A response, and what is held until its body has been read.
pub(in crate::mesh) struct Answer {
    pub(in crate::mesh) response: Response<Incoming>,
    pub(in crate::mesh) stream: Option<StreamGuard>,
}

impl Endpoint {
    pub(super) fn new(address: Address, target: Arc<Target>) -> Self {
        Self {
            address,
            target,
            http1: Arc::default(),
            http2: Arc::default(),
            born: Instant::now(),
            retry_at: AtomicU64::new(0),
        }
    }

    pub(super) fn health(&self) -> Health {
        match self.retry_at.load(Ordering::Relaxed) {
            0 => Health::Up,
            at if self.now() < at => Health::Down,
            _ => Health::Due,
        }
    }

    /// Claims the right to try the endpoint again; exactly one call gets it.
    pub(super) fn begin_probe(&self) -> bool {
        let (before, next) = (self.retry_at.load(Ordering::Relaxed), self.next_retry());
        let changed =
            self.retry_at
                .compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed);
        before != 0 && changed.is_ok()
    }

    /// Returns a connection for a call, and opens one if none is idle. Records whether that
    /// succeeded.
    pub(in crate::mesh) async fn checkout(
        &self,
        dialer: &Arc<Dialer>,
        is_http2: bool,
    ) -> Result<Checkout, NoConnection> {
        // The generation is read before the connection is made, so a connection is never labelled
        // newer than it is.
        let generation = dialer.generation(&self.target);
        let checkout = if is_http2 {
            let connect = || {
                let (dialer, target) = (Arc::clone(dialer), Arc::clone(&self.target));
                let address = self.address.clone();
                async move { Ok(dialer.dial(&address, &target, Protocol::Http2).await?) }
            };
            self.http2
                .join(generation, connect)
                .await
                .map(|joined| Checkout {
                    is_reused: joined.is_reused,
                    kind: Kind::Http2(joined),
                })
        } else {
            self.checkout_http1(dialer, generation).await
        };
        if !matches!(&checkout, Ok(checkout) if checkout.is_reused) {
            self.note(checkout.is_ok());
        }
        checkout
    }

    /// Opens a connection that belongs to no pool.
    pub(in crate::mesh) async fn dial(
        &self,
        dialer: &Dialer,
        protocol: Protocol,
    ) -> Result<MeshStream, Failure> {
        let dialed = dialer.dial(&self.address, &self.target, protocol).await;
        self.note(dialed.is_ok());
        dialed
    }

    fn note(&self, is_connected: bool) {
        let retry_at = if is_connected { 0 } else { self.next_retry() };
        self.retry_at.store(retry_at, Ordering::Relaxed);
    }

    async fn checkout_http1(
        &self,
        dialer: &Dialer,
        generation: u64,
    ) -> Result<Checkout, NoConnection> {
        let idle = self.http1.take(generation);
        let is_reused = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let dialing = dialer.dial(&self.address, &self.target, Protocol::Http1);
                self.http1.begin(dialing.await?, generation).await?
            }
        };
        Ok(Checkout {
            kind: Kind::Http1(connection, Arc::clone(&self.http1)),
            is_reused,
        })
    }

    fn now(&self) -> u64 {
        let age = self.born.elapsed().as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    fn next_retry(&self) -> u64 {
        self.now() + RETRY_AFTER_MILLIS
    }
}

impl Checkout {
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
        if let Some(peer) = &facts.peer {
            response.extensions_mut().insert::<Peer>(peer.clone());
        }
        Ok(Answer { response, stream })
    }

    /// Puts a connection that was made without a call into the pool.
    pub(super) fn keep(self) {
        if let Kind::Http1(connection, idle) = self.kind {
            idle.put_back(connection);
        }
    }
}

/// How long an endpoint rests after a failed connection attempt while other endpoints are up.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const RETRY_AFTER_MILLIS: u64 = RETRY_AFTER.as_secs() * 1000;
