//! The latencies of one window.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts latencies in buckets of a width of one eighth of their value, from 1 µs to over an hour.
#[derive(Debug)]
pub(super) struct Latencies([AtomicU32; BUCKETS]);

/// What was counted in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot([u32; BUCKETS]);

impl Latencies {
    pub(super) fn new() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }

    pub(super) fn add(&self, nanos: u64) {
        if let Some(count) = self.0.get(bucket(nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut counts = [0; BUCKETS];
        for (count, counted) in counts.iter_mut().zip(&self.0) {
            *count = counted.load(Ordering::Relaxed);
        }
        Snapshot(counts)
    }

    /// Forgets what a snapshot has seen.
    pub(super) fn forget(&self, seen: &Snapshot) {
        for (count, seen) in self.0.iter().zip(seen.0).filter(|(_, seen)| *seen > 0) {
            count.fetch_sub(seen, Ordering::Relaxed);
        }
    }
}

impl Snapshot {
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The median in nanoseconds, as the middle of its bucket; `None` without samples.
    pub(super) fn median(&self) -> Option<u64> {
        let half = self.count().div_ceil(2);
        let mut seen = 0;
        let index = self.0.iter().position(|count| {
            seen += u64::from(*count);
            half > 0 && seen >= half
        })?;
        Some(u64::midpoint(start(index), start(index + 1)))
    }
}

/// The bucket of a latency: its octave, and which eighth of it.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(UNIT);
    let octave = nanos.ilog2();
    let eighth = nanos >> (octave - STEPS.ilog2());
    let index = u64::from(octave - UNIT.ilog2()) * STEPS + (eighth - STEPS);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The least latency of a bucket.
fn start(bucket: usize) -> u64 {
    let (octave, eighth) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    (UNIT << octave) / STEPS * (STEPS + eighth)
}

/// In nanoseconds; a latency below counts as this.
const UNIT: u64 = 1_024;
const STEPS: u64 = 8;
const BUCKETS: usize = 32 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_bucket_that_holds_it() {
        for nanos in (0..63).flat_map(|octave| [1_u64 << octave, (1 << octave) + (1 << octave) / 3])
        {
            let index = bucket(nanos);
            let is_last = index == BUCKETS - 1;
            assert!(start(index) <= nanos.max(UNIT), "{nanos}");
            assert!(is_last || nanos < start(index + 1), "{nanos}");
        }
    }

    #[test]
    fn the_median_is_within_an_eighth() {
        let latencies = Latencies::new();
        assert_eq!(latencies.snapshot().median(), None);
        for millis in [1, 2, 40, 3, 900] {
            latencies.add(millis * 1_000_000);
        }
        let seen = latencies.snapshot();
        let median = seen.median().unwrap() as f64 / 3e6;
        assert!((0.875..1.125).contains(&median), "{median}");
        latencies.add(7);
        latencies.forget(&seen);
        assert_eq!(latencies.snapshot().count(), 1);
    }
}
