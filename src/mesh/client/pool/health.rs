//! Whether an endpoint could be connected to, by its last attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::picker::Health;

/// The result of the last attempt to connect to an endpoint, and when the next one is due.
#[derive(Debug)]
pub(super) struct EndpointHealth {
    born: Instant,
    /// After a failed connection attempt: when to try again, in milliseconds after `born`.
    /// Otherwise 0.
    retry_at: AtomicU64,
}

impl Default for EndpointHealth {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            retry_at: AtomicU64::new(0),
        }
    }
}

impl EndpointHealth {
    pub(super) fn get(&self) -> Health {
        match self.retry_at.load(Ordering::Relaxed) {
            0 => Health::Up,
            at if self.now() < at => Health::Down,
            _ => Health::Due,
        }
    }

    /// Records the result of an attempt.
    pub(super) fn note(&self, is_connected: bool) {
        let retry_at = if is_connected { 0 } else { self.next_retry() };
        self.retry_at.store(retry_at, Ordering::Relaxed);
    }

    /// Claims the right to try the endpoint again; exactly one call gets it.
    pub(super) fn begin_probe(&self) -> bool {
        let (before, next) = (self.retry_at.load(Ordering::Relaxed), self.next_retry());
        let changed =
            self.retry_at
                .compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed);
        before != 0 && changed.is_ok()
    }

    fn now(&self) -> u64 {
        let age = self.born.elapsed().as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    fn next_retry(&self) -> u64 {
        self.now() + RETRY_AFTER_MILLIS
    }
}

/// How long an endpoint rests after a failed connection attempt while other endpoints are up.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const RETRY_AFTER_MILLIS: u64 = RETRY_AFTER.as_secs() * 1000;
