//! Keeps idle HTTP/1 connections for later calls.

#![expect(
    clippy::disallowed_types,
    reason = "held to push or pop one entry of one endpoint's list, never across I/O or an await"
)]

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;

use super::super::connect_error::NoConnection;
use super::retirement::ConnectionFacts;
use super::stream::MeshStream;
use crate::mesh::ClientBody;

/// The idle HTTP/1 connections to one endpoint.
///
/// The most recently used one is taken first, so the others can expire. A call takes a connection
/// out and puts it back after its response, so an entry has one owner at a time. That is why the
/// list has a lock and not an `ArcSwap`. Each endpoint has its own lock, which is held only for one
/// push or pop.
#[derive(Default)]
pub(in crate::mesh) struct IdleList {
    idle: Mutex<Vec<Http1>>,
    /// Tells a call that waits for a connection that one was put back.
    returned: Notify,
}

/// A connection that one call uses alone.
pub(in crate::mesh) struct Http1 {
    sender: http1::SendRequest<ClientBody>,
    pub(in crate::mesh) facts: Arc<ConnectionFacts>,
}

impl IdleList {
    /// Takes an open connection that presents our current identity.
    pub(in crate::mesh) fn take(&self, generation: u64) -> Option<Http1> {
        let mut idle = self.list();
        while let Some(connection) = idle.pop() {
            if connection.sender.is_ready() && connection.facts.takes_calls(generation) {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for a connection that another call puts back.
    pub(in crate::mesh) async fn returned(&self, generation: u64) -> Http1 {
        loop {
            let mut returned = pin!(self.returned.notified());
            // A connection that comes between the look and the wait wakes this call.
            returned.as_mut().enable();
            if let Some(connection) = self.take(generation) {
                return connection;
            }
            returned.await;
        }
    }

    fn put(&self, connection: Http1) {
        connection.facts.touch();
        let mut idle = self.list();
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
        drop(idle);
        self.returned.notify_one();
    }

    fn forget(&self, facts: &Arc<ConnectionFacts>) {
        self.list()
            .retain(|connection| !Arc::ptr_eq(&connection.facts, facts));
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Http1>> {
        // A panic cannot leave the list half changed, so a poisoned lock is safe to use.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts HTTP/1 on a connection and spawns its task.
    pub(in crate::mesh) async fn begin(
        self: &Arc<Self>,
        stream: MeshStream,
        generation: u64,
    ) -> Result<Http1, NoConnection> {
        let facts = stream.facts(generation, Version::HTTP_11);
        let (sender, connection) = http1::handshake(stream).await?;
        let (idle, own) = (Arc::downgrade(self), Arc::clone(&facts));
        TokioExecutor::new().execute(async move {
            let connection = async {
                // The current call gets the error; the task need not report it.
                let _ = connection.with_upgrades().await;
            };
            let forget = || {
                if let Some(idle) = idle.upgrade() {
                    idle.forget(&own);
                }
            };
            // A connection that a call uses is not in the list, so `forget` cannot harm the call
            // and `is_busy` may always be false.
            own.run(connection, || false, forget).await;
        });
        Ok(Http1 { sender, facts })
    }

    /// Puts a connection back once it can take another request, that is, when the response has been
    /// read.
    pub(in crate::mesh) fn put_back(self: &Arc<Self>, mut connection: Http1) {
        if connection.sender.is_ready() {
            return self.put(connection);
        }
        let idle = Arc::downgrade(self);
        TokioExecutor::new().execute(async move {
            let ready = poll_fn(|cx| connection.sender.poll_ready(cx)).await;
            if let (Ok(()), Some(idle)) = (ready, idle.upgrade()) {
                idle.put(connection);
            }
        });
    }
}

impl Http1 {
    pub(in crate::mesh) async fn send(
        &mut self,
        request: Request<ClientBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<ClientBody>>> {
        self.sender.try_send_request(request).await
    }
}

impl fmt::Debug for IdleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdleList({})", self.list().len())
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").finish_non_exhaustive()
    }
}

/// The largest number of idle connections to one endpoint; Envoy opens as many to one cluster.
const MOST_IDLE: usize = 1024;
