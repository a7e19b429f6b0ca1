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
    /// How many attempts have succeeded.
    successes: AtomicU64,
}

/// An attempt to connect that has begun.
pub(super) struct Attempt {
    successes_before: u64,
}

impl Default for EndpointHealth {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            retry_at: AtomicU64::new(0),
            successes: AtomicU64::new(0),
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

    pub(super) fn begin(&self) -> Attempt {
        Attempt {
            successes_before: self.successes.load(Ordering::Relaxed),
        }
    }

    /// Records the result of an attempt. A failure says nothing if another attempt has succeeded
    /// since this one began: it may have waited long for what is mended.
    pub(super) fn note(&self, attempt: &Attempt, is_connected: bool) {
        if is_connected {
            self.successes.fetch_add(1, Ordering::Relaxed);
            self.retry_at.store(0, Ordering::Relaxed);
        } else if self.successes.load(Ordering::Relaxed) == attempt.successes_before {
            self.retry_at.store(self.next_retry(), Ordering::Relaxed);
        }
    }

    /// Claims the right to try the endpoint again; exactly one call gets it.
    pub(super) fn begin_probe(&self) -> bool {
        let before = self.retry_at.load(Ordering::Relaxed);
        if before == 0 || self.now() < before {
            return false;
        }
        let next = self.next_retry();
        let changed =
            self.retry_at
                .compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed);
        changed.is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixty-four calls may have given up waiting for an address that does not answer. What becomes
    /// of their attempts must not take an address out of use that answers again.
    #[tokio::test(start_paused = true)]
    async fn a_failure_that_began_before_the_last_success_says_nothing() {
        let health = EndpointHealth::default();
        let (old, good) = (health.begin(), health.begin());
        health.note(&health.begin(), false);
        assert_eq!(health.get(), Health::Down);
        health.note(&good, true);
        assert_eq!(health.get(), Health::Up);
        health.note(&old, false);
        assert_eq!(health.get(), Health::Up);
        health.note(&health.begin(), false);
        assert_eq!(health.get(), Health::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_probes_and_none_before_it_is_due() {
        let health = EndpointHealth::default();
        assert!(!health.begin_probe(), "it is up");
        health.note(&health.begin(), false);
        assert!(!health.begin_probe(), "it rests");
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(health.get(), Health::Due);
        assert!(health.begin_probe());
        // Another call has seen that it was due, too.
        assert!(!health.begin_probe());
        tokio::time::advance(RETRY_AFTER).await;
        assert!(health.begin_probe());
    }
}
