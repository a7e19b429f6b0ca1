//! Counts the identities that a source has given, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

use crate::tls::counters::{Counters, readers};
use crate::tls::reason::Reason;

/// Counts of the identities that a [`Rotation`](crate::tls::Rotation) received.
#[derive(Debug)]
pub struct RotationStats {
    begun: Instant,
    rotations: AtomicU64,
    /// How often the source had no identity.
    unheard: AtomicU64,
    rejected: Counters<{ Reason::ALL.len() }>,
    /// Milliseconds from the beginning to the source's last good result.
    heard: AtomicU64,
    is_down: AtomicBool,
}

impl RotationStats {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            rotations: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            rejected: Counters::default(),
            heard: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        }
    }

    pub(super) fn count_rotation(&self) {
        self.rotations.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn heard(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: Option<Reason>) {
        self.is_down.store(true, Ordering::Relaxed);
        match reason {
            Some(reason) => self.rejected.add_one(reason.index()),
            None => drop(self.unheard.fetch_add(1, Ordering::Relaxed)),
        }
    }

    readers! {
        /// How often a new identity came into use.
        rotations,
        /// How often the source itself failed.
        unheard,
    }

    /// How often the source failed or returned an identity that cannot be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let rejected = Reason::ALL.iter().map(|&reason| self.rejected(reason));
        self.unheard() + rejected.sum::<u64>()
    }

    /// How often the source returned an identity that cannot be used, for a reason.
    #[must_use]
    pub fn rejected(&self, reason: Reason) -> u64 {
        self.rejected.get(reason.index())
    }

    /// How long ago the source last returned something usable.
    #[must_use]
    pub fn age(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(heard)
    }

    /// Whether its last result was an error. The identity in use stays until it expires.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }
}
