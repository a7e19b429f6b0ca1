//! What became of the records of a trail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one trail since its start.
#[derive(Debug, Default)]
pub struct Counters {
    name: String,
    pub(super) written: Count,
    pub(super) dropped: Count,
    pub(super) lost: Count,
    pub(super) gaps: Count,
    pub(super) failures: Count,
    pub(super) syncs: Count,
    pub(super) sync_nanos: Count,
    pub(super) checkpoints: Count,
    pub(super) checkpoint_failures: Count,
    pub(super) queued: Count,
    pub(super) queued_bytes: Count,
}

/// A number that any thread reads.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed)
    }

    pub(super) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// The trail: the path of its folder, or what [`Sink::name`](super::Sink::name) says.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Events that are in the trail: durable in a folder, taken by a sink.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Events for which the queue had no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Events that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// `gap` records that were written.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.get()
    }

    /// How often writing has failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// How often records were made durable, and how long that took in all.
    #[must_use]
    pub fn syncs(&self) -> (u64, Duration) {
        (
            self.syncs.get(),
            Duration::from_nanos(self.sync_nanos.get()),
        )
    }

    /// Checkpoints that were signed.
    #[must_use]
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints.get()
    }

    /// Checkpoints that could not be signed, or that the second place did not take.
    #[must_use]
    pub fn checkpoint_failures(&self) -> u64 {
        self.checkpoint_failures.get()
    }

    /// Events that wait, and about how many bytes they have.
    #[must_use]
    pub fn queued(&self) -> (u64, u64) {
        (self.queued.get(), self.queued_bytes.get())
    }
}
