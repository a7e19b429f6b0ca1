use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// What is under way on one connection. The service that answers its requests writes it; the code
/// that watches its bytes reads it.
/// [`Peer::activity`](super::Peer::activity) has it.
///
/// A mesh's guard records each request. A service without one records them with
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

    /// How long a client may take between two pieces of a request's body, where the service that
    /// answers the request enforces it.
    #[must_use]
    pub fn body_idle(&self) -> Option<Duration> {
        self.body_idle.get().copied()
    }

    /// Leaves it to the service that answers the requests to bound their bodies. Only the first
    /// call counts.
    pub fn bound_bodies(&self, idle: Duration) {
        let _ = self.body_idle.set(idle);
    }
}
