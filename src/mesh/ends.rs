#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken when a connection begins to end and when it is gone; a call only reads a number"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The connections of a pool that should take no further request, by our own address, of which there is one each.
#[derive(Debug, Default)]
pub(super) struct Ends {
    count: AtomicUsize,
    list: Mutex<Vec<SocketAddr>>,
}

impl Ends {
    /// Whether there is any; what every call asks.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub(super) fn has(&self, local: SocketAddr) -> bool {
        self.list().contains(&local)
    }

    pub(super) fn add(&self, local: SocketAddr) {
        self.list().push(local);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, local: SocketAddr) {
        self.list().retain(|known| *known != local);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    fn list(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
