use std::sync::atomic::{AtomicU64, Ordering};

use super::cell::take;

/// One stripe's part of the three histograms of a series.
///
/// A request touches few cache lines because of the order of the cells, which start on a line. The
/// first line holds the sums and the durations up to 25 ms. The buckets of the two sizes alternate
/// and start so that the sizes from 51 to 1000 bytes share a line, as do those from 1001 to 30,000.
/// Three separate histograms would take six lines.
#[derive(Debug)]
pub(in crate::metrics) struct RequestCells([AtomicU64; 3 * (BUCKETS + 1)]);

/// What one request adds.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Observed {
    pub(in crate::metrics) milliseconds: u64,
    pub(in crate::metrics) request_bytes: u64,
    pub(in crate::metrics) response_bytes: u64,
}

/// What the request families hold at one moment. `istio_requests_total` is the count of the
/// durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct RequestTotals {
    pub(in crate::metrics) duration: HistogramTotals,
    pub(in crate::metrics) request_bytes: HistogramTotals,
    pub(in crate::metrics) response_bytes: HistogramTotals,
}

#[derive(Clone, Copy)]
enum Histogram {
    Duration,
    RequestBytes,
    ResponseBytes,
}

impl Histogram {
    const ALL: [Self; 3] = [Self::Duration, Self::RequestBytes, Self::ResponseBytes];

    const fn sum(self) -> usize {
        self as usize
    }

    const fn bucket(self, bucket: usize) -> usize {
        match self {
            Self::Duration if bucket < SHORT_DURATIONS => SUMS + bucket,
            Self::Duration => SUMS + 2 * BUCKETS + bucket,
            Self::RequestBytes => SUMS + SHORT_DURATIONS + 2 * bucket,
            Self::ResponseBytes => SUMS + SHORT_DURATIONS + 2 * bucket + 1,
        }
    }
}

impl RequestCells {
    pub(super) fn observe(&self, observed: Observed) {
        self.observe_one(Histogram::Duration, observed.milliseconds);
        self.observe_one(Histogram::RequestBytes, observed.request_bytes);
        self.observe_one(Histogram::ResponseBytes, observed.response_bytes);
    }

    fn observe_one(&self, histogram: Histogram, value: u64) {
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        // One comparison for each bound and no branch is quicker than a search among so few.
        let bucket = BOUNDS.iter().map(|bound| usize::from(*bound < small)).sum();
        self.add(histogram.bucket(bucket), 1);
        self.add(histogram.sum(), value);
    }

    fn add(&self, cell: usize, value: u64) {
        if let Some(cell) = self.0.get(cell) {
            cell.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Moves the counts of another stripe to this one.
    pub(super) fn take(&self, from: &Self) {
        for (to, from) in self.0.iter().zip(&from.0) {
            take(to, from);
        }
    }

    /// Adds what was counted here to the totals.
    pub(super) fn add_to(&self, totals: &mut RequestTotals) {
        let read = |cell: usize| {
            self.0
                .get(cell)
                .map_or(0, |cell| cell.load(Ordering::Relaxed))
        };
        for histogram in Histogram::ALL {
            let totals = match histogram {
                Histogram::Duration => &mut totals.duration,
                Histogram::RequestBytes => &mut totals.request_bytes,
                Histogram::ResponseBytes => &mut totals.response_bytes,
            };
            totals.sum = totals.sum.wrapping_add(read(histogram.sum()));
            for (bucket, total) in totals.buckets.iter_mut().enumerate() {
                *total += read(histogram.bucket(bucket));
            }
        }
    }
}

impl Default for RequestCells {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; 3 * (BUCKETS + 1)])
    }
}

/// What a histogram holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct HistogramTotals {
    buckets: [u64; BUCKETS],
    pub(in crate::metrics) sum: u64,
}

impl HistogramTotals {
    /// How many values were observed. It is the sum of the buckets, so that the two always agree.
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

/// Envoy's default buckets (milliseconds, or bytes), which Istio uses. Only whole numbers are
/// observed, so `0` takes the place of the bound `0.5`.
const BOUNDS: [u32; BUCKETS - 1] = [
    0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
    1_800_000, 3_600_000,
];

/// `1` and not `1.0`, as Envoy writes it: with another spelling, the series would differ from a
/// sidecar's.
const LE: [&str; BUCKETS] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000",
    "30000", "60000", "300000", "600000", "1800000", "3600000", "+Inf",
];

const BUCKETS: usize = 20;

/// One sum for each histogram.
const SUMS: usize = 3;
/// How many buckets of durations lie before the sizes.
const SHORT_DURATIONS: usize = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals(values: &[u64]) -> HistogramTotals {
        let cells = RequestCells::default();
        for value in values {
            cells.observe(Observed {
                milliseconds: *value,
                request_bytes: 0,
                response_bytes: 0,
            });
        }
        let mut totals = RequestTotals::default();
        cells.add_to(&mut totals);
        totals.duration
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
    fn every_sum_and_bucket_has_a_cell_of_its_own() {
        let cells = Histogram::ALL.map(|histogram| {
            let buckets = (0..BUCKETS).map(move |bucket| histogram.bucket(bucket));
            std::iter::once(histogram.sum()).chain(buckets)
        });
        let mut cells: Vec<_> = cells.into_iter().flatten().collect();
        cells.sort_unstable();
        assert!(cells.into_iter().eq(0..3 * (BUCKETS + 1)));
        let line = |cell: usize| cell / 8;
        for small in 0..5 {
            assert_eq!(line(Histogram::Duration.bucket(small)), 0);
        }
        for usual in 6..10 {
            assert_eq!(line(Histogram::RequestBytes.bucket(usual)), 3);
            assert_eq!(line(Histogram::ResponseBytes.bucket(usual)), 3);
        }
    }

    #[test]
    fn the_histograms_do_not_mix() {
        let cells = RequestCells::default();
        cells.observe(Observed {
            milliseconds: 7,
            request_bytes: 300,
            response_bytes: 5_000_000,
        });
        let mut totals = RequestTotals::default();
        cells.add_to(&mut totals);
        let duration = HistogramTotals {
            sum: 7,
            buckets: std::array::from_fn(|bucket| u64::from(bucket == 3)),
        };
        assert_eq!(totals.duration, duration);
        assert_eq!(totals.request_bytes.sum, 300);
        assert_eq!(totals.response_bytes.sum, 5_000_000);
        assert_eq!(totals.response_bytes.buckets.last(), Some(&1));
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
