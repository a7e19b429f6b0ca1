//! What became of the lines of a sink.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines for which the queue had no room.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Lines that could not be written.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn add_written(&self, lines: u64) {
        self.written.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn add_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_failed(&self, lines: u64) {
        self.failed.fetch_add(lines, Ordering::Relaxed);
    }
}
