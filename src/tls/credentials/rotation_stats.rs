use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

use crate::tls::counters::Counters;
use crate::tls::reason::Reason;

/// What became of the identities that a [`Rotation`](crate::tls::Rotation) was given.
#[derive(Debug)]
pub struct RotationStats {
    begun: Instant,
    rotations: AtomicU64,
    /// The source had nothing to give.
    unheard: AtomicU64,
    rejected: Counters<{ Reason::ALL.len() }>,
    /// Milliseconds from the beginning to the source's last good word.
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

    /// How often another identity was put to use.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// How often the source failed or gave one that cannot be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let rejected = Reason::ALL.iter().map(|&reason| self.rejected(reason));
        self.unheard() + rejected.sum::<u64>()
    }

    /// How often the source itself failed.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.unheard.load(Ordering::Relaxed)
    }

    /// How often it gave an identity that cannot be used, for a reason.
    #[must_use]
    pub fn rejected(&self, reason: Reason) -> u64 {
        self.rejected.get(reason.index())
    }

    /// How long ago the source last said something that could be used.
    #[must_use]
    pub fn age(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(heard)
    }

    /// Whether its last word was an error; the identity in use stays until it ends.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }
}
