//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one cache. Most requests are hits, so that these have a cache line of their own.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) hits: Line,
    pub(super) misses: Line,
    pub(super) stale: AtomicU64,
    pub(super) unkeyed: AtomicU64,
    pub(super) shared: AtomicU64,
    pub(super) unkept: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) AtomicU64);

/// What one cache has counted, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheCounts {
    /// Requests that were answered without a question.
    pub(crate) hits: u64,
    /// Requests about which the provider was asked.
    pub(crate) misses: u64,
    /// Requests that an older decision answered when the provider could not be asked.
    pub(crate) stale: u64,
    /// Requests about which the provider was asked because their key is too long, or not known when
    /// the provider is asked.
    pub(crate) unkeyed: u64,
    /// Requests that have waited for the answer to an equal one.
    pub(crate) shared: u64,
    /// Decisions that were not kept because they are meant for one caller.
    pub(crate) unkept: u64,
    /// The decisions that are kept.
    pub(crate) entries: usize,
    /// The bytes that they take.
    pub(crate) bytes: usize,
}

impl Counters {
    pub(crate) fn read(&self, entries: usize, bytes: usize) -> CacheCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: of(&self.hits.0),
            misses: of(&self.misses.0),
            stale: of(&self.stale),
            unkeyed: of(&self.unkeyed),
            shared: of(&self.shared),
            unkept: of(&self.unkept),
            entries,
            bytes,
        }
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
