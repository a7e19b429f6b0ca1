//! Counts handshakes, and the connections that they made, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tls::counters::{Counters, readers};
use crate::tls::reason::Reason;

use super::close::CloseReason;

/// Counts the handshakes of a listener or a connector, and the connections that they made, for
/// metrics.
#[derive(Debug, Default)]
pub struct HandshakeStats {
    handshakes: AtomicU64,
    plaintext: AtomicU64,
    refused: Counters<{ Reason::ALL.len() }>,
    ended: Counters<{ CloseReason::ALL.len() }>,
    closed: AtomicU64,
    cut: AtomicU64,
    pub(in crate::tls) full: AtomicU64,
    pub(in crate::tls) accept_errors: AtomicU64,
}

impl HandshakeStats {
    pub(in crate::tls) fn count(&self, refused: Option<Reason>) {
        match refused {
            Some(reason) => self.refused.add_one(reason.index()),
            None => drop(self.handshakes.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(in crate::tls) fn count_plaintext(&self) {
        self.plaintext.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was accepted or made, and has closed.
    pub(super) fn count_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection whose [`Lifetime`](crate::tls::Lifetime) ended. Servers and clients call
    /// it.
    pub fn count_ended(&self, reason: CloseReason) {
        self.ended.add_one(reason.index());
    }

    /// Counts requests in progress on a connection that was cut. Servers call it.
    pub fn count_cut(&self, requests: usize) {
        self.cut.fetch_add(requests as u64, Ordering::Relaxed);
    }

    readers! {
        /// Requests that were in progress on connections that were cut.
        cut,
        /// The accepted connections that speak TLS.
        handshakes,
        /// The accepted connections that are plaintext, or speak the application's own TLS.
        plaintext,
        /// How often a listener stopped accepting because no more connections could be open.
        full,
        /// How often the socket itself failed, mostly for lack of file descriptors.
        accept_errors,
    }

    /// Connections that were accepted or made, plaintext ones included.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.handshakes() + self.plaintext()
    }

    /// Connections that a listener accepted and that are still open.
    #[must_use]
    pub fn open(&self) -> u64 {
        // Reads `closed` first: a connection that closes meanwhile was accepted before.
        let closed = self.closed.load(Ordering::Relaxed);
        self.accepted().saturating_sub(closed)
    }

    /// Connections refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused.get(reason.index())
    }

    /// Connections refused, by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL
            .iter()
            .map(|&reason| (reason, self.refused(reason)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Connections whose lifetime ended for a reason.
    #[must_use]
    pub fn ended(&self, reason: CloseReason) -> u64 {
        self.ended.get(reason.index())
    }
}
