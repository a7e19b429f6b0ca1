//! What is under way and may have a record at its end. The trail ends behind it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::audit::{Audit, Event, Outcome};
use crate::context::{Ending, Peer};

/// Counts the requests and connections that are under way, and the servers.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Counts {
    open: AtomicUsize,
    /// Whether somebody waits for `open` to be 0. Others need not be notified.
    is_awaited: AtomicBool,
    ended: Notify,
    servers: AtomicUsize,
}

impl Counts {
    /// A request or a connection begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.open.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(self))
    }

    /// A server with guards begins.
    pub(in crate::mesh) fn begin_server(self: &Arc<Self>) -> AuditedServer {
        self.servers.fetch_add(1, Ordering::Relaxed);
        AuditedServer(Some(Arc::clone(self)))
    }

    /// Writes this event when the connection is closed: the last of a request that has upgraded it.
    pub(super) fn submit_at_close(self: &Arc<Self>, audit: &Audit, peer: &Peer, event: Event) {
        let (under_way, audit) = (self.begin(), audit.clone());
        peer.at_close(move |ending| {
            let outcome = match ending {
                Ending::Aged | Ending::Slow => Outcome::Cancelled,
                Ending::Unwatched | Ending::Open | Ending::Left | Ending::Broken => Outcome::Allow,
            };
            audit.submit(event.outcome(outcome));
            drop(under_way);
        });
    }

    /// Waits until nothing is under way.
    pub(in crate::mesh) async fn none(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
        loop {
            let mut ended = pin!(self.ended.notified());
            // Before the look at the count: an end that comes after the look then wakes this.
            ended.as_mut().enable();
            if self.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Counts a request or a connection as under way until dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Counts>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let was_last = self.0.open.fetch_sub(1, Ordering::SeqCst) == 1;
        // Who begins to wait after this look finds the count at 0.
        if was_last && self.0.is_awaited.load(Ordering::SeqCst) {
            self.0.ended.notify_waiters();
        }
    }
}

/// A server with guards, until it has drained.
#[derive(Debug)]
pub(in crate::mesh) struct AuditedServer(Option<Arc<Counts>>);

impl AuditedServer {
    /// It has drained; returns whether it was the last of those that run.
    pub(in crate::mesh) fn ends(mut self) -> bool {
        self.count()
    }

    fn count(&mut self) -> bool {
        let counts = self.0.take();
        counts.is_some_and(|counts| counts.servers.fetch_sub(1, Ordering::Relaxed) == 1)
    }
}

impl Drop for AuditedServer {
    fn drop(&mut self) {
        self.count();
    }
}
