use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// What is under way on one connection: said by whoever answers its requests, read by whoever
/// watches its bytes.
/// [`Peer::activity`](super::Peer::activity) has it.
///
/// A mesh's guard says it of each request. Who answers requests without one says it with
/// [`Peer::begin_request`](super::Peer::begin_request).
#[derive(Debug, Default)]
pub struct Activity {
    pub(super) begun: AtomicU32,
    pub(super) open: AtomicUsize,
    /// Bodies that may be silent.
    pub(super) quiet: AtomicUsize,
    body_idle: OnceLock<Duration>,
}

impl Activity {
    /// How many requests have begun, wrapping.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// How many have begun and not ended. A connection that was upgraded has one that never ends.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How long a client may take between two pieces of a request's body, where whoever answers the
    /// request must see to it.
    #[must_use]
    pub fn body_idle(&self) -> Option<Duration> {
        self.body_idle.get().copied()
    }

    /// Leaves it to whoever answers the requests to bound their bodies. Only the first word counts.
    pub fn bound_bodies(&self, idle: Duration) {
        let _ = self.body_idle.set(idle);
    }
}
