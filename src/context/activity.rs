//! Counts the requests in progress on one connection.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) use self::ending::Ending;
use self::ending::FirstEnding;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use self::ending::drop_slow_stream;
#[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
use self::kept::{AtClose, Kept};

mod ending;
#[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
mod kept;

/// The requests in progress on one connection. The service that answers requests writes it; the
/// code that watches the connection's bytes reads it. [`Peer::activity`](super::Peer::activity)
/// returns it.
///
/// A mesh's guard records each request. A service without a guard records requests with
/// [`Peer::begin_request`](super::Peer::begin_request).
#[derive(Debug, Default)]
pub struct Activity {
    pub(super) begun: AtomicU32,
    pub(super) open: AtomicUsize,
    /// The number of bodies that may be silent.
    pub(super) quiet: AtomicUsize,
    body_idle: OnceLock<Duration>,
    ending: FirstEnding,
    #[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
    kept: Kept,
}

impl Activity {
    /// How many requests have begun; the count wraps around.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// How many requests have begun and not ended. An upgraded connection has one request that
    /// never ends.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How long a client may pause inside a request's body, if the service that answers requests
    /// enforces a limit.
    #[must_use]
    pub fn body_idle(&self) -> Option<Duration> {
        self.body_idle.get().copied()
    }

    /// Whoever serves the connection notes from now on why it ends.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn watch_ending(&self) {
        self.ending.watch();
    }

    /// Notes why a [watched](Self::watch_ending) connection ends. Only the first reason counts.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn ends(&self, ending: Ending) {
        self.ending.set(ending);
    }

    /// Calls this when the connection is closed.
    #[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
    pub(super) fn at_close(&self, call: Box<AtClose>) {
        if let Err(call) = self.kept.keep(call) {
            call(self.ending());
        }
    }

    /// Why a request that is dropped now has ended.
    pub(crate) fn ending(&self) -> Ending {
        self.ending.get()
    }

    /// States that the service that answers requests enforces this limit itself. Only the first
    /// call counts.
    pub fn bound_bodies(&self, idle: Duration) {
        let _ = self.body_idle.set(idle);
    }
}

/// The last handle of the peer is dropped: its connection is closed.
#[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
impl Drop for Activity {
    fn drop(&mut self) {
        self.kept.end(self.ending.get());
    }
}
