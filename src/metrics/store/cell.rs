use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cells of one series, one copy per stripe, so that threads which count the same thing do not pass a cache line around.
///
/// A thread keeps its stripe for life. A stripe's copy is made when the first of its threads comes, so that series touched by one thread cost
/// one copy.
#[derive(Debug)]
pub(in crate::metrics) struct Striped<T> {
    stripes: [OnceLock<Box<Line<T>>>; STRIPES],
}

/// Keeps neighbours off the cache line, and off the pair of lines that is prefetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

impl<T: Default> Striped<T> {
    pub(in crate::metrics) const fn new() -> Self {
        Self {
            stripes: [const { OnceLock::new() }; STRIPES],
        }
    }

    /// This thread's copy. The only allocation is the one at the stripe's first use.
    pub(in crate::metrics) fn local(&self) -> Option<&T> {
        let stripe = self.stripes.get(stripe())?;
        Some(&stripe.get_or_init(Box::default).0)
    }

    pub(in crate::metrics) fn iter(&self) -> impl Iterator<Item = &T> {
        self.stripes
            .iter()
            .filter_map(|stripe| stripe.get().map(|line| &line.0))
    }
}

const STRIPES: usize = 16;

/// The stripe of this thread; the first one while the thread is being torn down.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.try_with(|stripe| *stripe).unwrap_or(0)
}

/// One stripe's part of a histogram with Istio's buckets.
#[derive(Debug, Default)]
pub(in crate::metrics) struct HistogramCells {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl HistogramCells {
    pub(in crate::metrics) fn observe(&self, value: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Takes over what the other has counted.
    pub(in crate::metrics) fn take(&self, from: &Self) {
        for (to, from) in self.buckets.iter().zip(&from.buckets) {
            take(to, from);
        }
        take(&self.sum, &from.sum);
    }
}

/// Moves a count from one cell to another, while others may be adding to both.
pub(in crate::metrics) fn take(to: &AtomicU64, from: &AtomicU64) {
    if from.load(Ordering::Relaxed) > 0 {
        to.fetch_add(from.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What a histogram holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct HistogramTotals {
    buckets: [u64; BUCKETS],
    pub(in crate::metrics) sum: u64,
}

impl HistogramTotals {
    pub(in crate::metrics) fn add(&mut self, cells: &HistogramCells) {
        for (total, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *total += cell.load(Ordering::Relaxed);
        }
        self.sum = self.sum.wrapping_add(cells.sum.load(Ordering::Relaxed));
    }

    /// How often a value was observed: the sum of the buckets, so that the two never disagree.
    pub(in crate::metrics) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Each bucket's upper bound as Envoy writes it, and how many values lie at or under it.
    pub(in crate::metrics) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LE.into_iter()
            .zip(self.buckets)
            .scan(0, |below, (le, here)| {
                *below += here;
                Some((le, *below))
            })
    }
}

/// Istio keeps Envoy's default buckets (milliseconds, or bytes). Only whole numbers are observed, so `0` stands for the bound `0.5`.
const BOUNDS: [u64; BUCKETS - 1] = [
    0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
    1_800_000, 3_600_000,
];

/// `1` and not `1.0`, as Envoy writes it: beside a sidecar's series, another spelling would be another series.
const LE: [&str; BUCKETS] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000",
    "30000", "60000", "300000", "600000", "1800000", "3600000", "+Inf",
];

const BUCKETS: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals(values: &[u64]) -> HistogramTotals {
        let cells = HistogramCells::default();
        values.iter().for_each(|value| cells.observe(*value));
        let mut totals = HistogramTotals::default();
        totals.add(&cells);
        totals
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        for (value, le) in [
            (0, "0.5"),
            (1, "1"),
            (2, "5"),
            (5, "5"),
            (6, "10"),
            (1000, "1000"),
            (1001, "2500"),
            (3_600_000, "3600000"),
            (3_600_001, "+Inf"),
            (u64::MAX, "+Inf"),
        ] {
            let first = totals(&[value])
                .cumulative()
                .find(|(_, count)| *count == 1)
                .map(|(le, _)| le);
            assert_eq!(first, Some(le), "{value}");
        }
    }

    #[test]
    fn the_bounds_are_what_is_printed() {
        for (bound, le) in BOUNDS.iter().zip(LE).skip(1) {
            assert_eq!(bound.to_string(), le);
        }
    }

    #[test]
    fn threads_lose_nothing() {
        let striped = Striped::<HistogramCells>::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|v| striped.local().unwrap().observe(v)));
            }
        });
        let mut totals = HistogramTotals::default();
        striped.iter().for_each(|cells| totals.add(cells));
        assert_eq!(totals.count(), 2 * STRIPES as u64 * 1000);
        assert_eq!(totals.sum, 2 * STRIPES as u64 * 499_500);
    }

    proptest! {
        #[test]
        fn the_last_bucket_is_the_count(values in prop::collection::vec(0u64..10_000_000, 0..50)) {
            let totals = totals(&values);
            let cumulative: Vec<_> = totals.cumulative().map(|(_, count)| count).collect();
            prop_assert!(cumulative.is_sorted());
            prop_assert_eq!(cumulative.last().copied(), Some(values.len() as u64));
            prop_assert_eq!(totals.count(), values.len() as u64);
            prop_assert_eq!(totals.sum, values.iter().sum::<u64>());
        }
    }
}
