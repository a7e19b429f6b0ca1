use std::sync::atomic::{AtomicU64, Ordering};

use crate::propagation::span::export_counts::ExportCounts;

/// Counts what becomes of spans.
#[derive(Debug, Default)]
pub(super) struct Counts {
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    failed_batches: AtomicU64,
    rejected: AtomicU64,
    /// Of the spans that are queued.
    bytes: AtomicU64,
}

impl Counts {
    /// Counts a span that is about to be queued, so that no other thread sees it leave before.
    pub(super) fn queue(&self) {
        add(&self.queued, 1);
    }

    /// Takes that back: the queue had no room, or has ended.
    pub(super) fn unqueue(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn drop_one(&self) {
        add(&self.dropped, 1);
    }

    /// Counts a span that was never queued, because there is no runtime.
    pub(super) fn lose_one(&self) {
        add(&self.lost, 1);
    }

    /// Takes room for these bytes. Returns whether there is as much.
    pub(super) fn reserve(&self, bytes: u64, most: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before.saturating_add(bytes) <= most;
        if !has_room {
            self.release(bytes);
        }
        has_room
    }

    pub(super) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a batch that the collector has taken, but for those that it has `rejected`.
    pub(super) fn exported(&self, spans: u64, rejected: u64) {
        let rejected = rejected.min(spans);
        add(&self.rejected, rejected);
        add(&self.exported, spans - rejected);
        self.queued.fetch_sub(spans, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, spans: u64) {
        add(&self.failed_batches, 1);
        self.leave(&self.failed, spans);
    }

    pub(super) fn lost(&self, spans: u64) {
        self.leave(&self.lost, spans);
    }

    pub(super) fn now(&self) -> ExportCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ExportCounts {
            queued: count(&self.queued),
            exported: count(&self.exported),
            dropped: count(&self.dropped),
            failed: count(&self.failed),
            lost: count(&self.lost),
            failed_batches: count(&self.failed_batches),
            rejected: count(&self.rejected),
        }
    }

    fn leave(&self, to: &AtomicU64, spans: u64) {
        add(to, spans);
        self.queued.fetch_sub(spans, Ordering::Relaxed);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
