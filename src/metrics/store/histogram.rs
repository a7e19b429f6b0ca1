use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::buckets::{Bounds, Buckets, FAMILIES, MAX_BOUNDS};
use super::value::Value;

/// One stripe's part of the three histograms of a series.
///
/// A request touches few cache lines because of the order of the cells, which start on a line. The
/// first line holds the sums and the durations up to 25 ms. The buckets of the two sizes alternate
/// and start so that the sizes from 51 to 1000 bytes share a line, as do those from 1001 to 30,000.
/// Three separate histograms would take six lines.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::metrics) struct RequestCells {
    /// Of the durations, the request sizes and the response sizes.
    sums: [AtomicU64; 3],
    short_durations: [AtomicU64; SHORT_DURATIONS],
    /// Each bucket's requests and responses.
    sizes: [[AtomicU64; 2]; BUCKETS],
    long_durations: [AtomicU64; BUCKETS - SHORT_DURATIONS],
}

/// What one request adds.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Observed {
    pub(in crate::metrics) milliseconds: u64,
    pub(in crate::metrics) request_bytes: u64,
    pub(in crate::metrics) response_bytes: u64,
}

impl Observed {
    /// In the order of the families.
    pub(super) const fn values(self) -> [u64; FAMILIES] {
        [self.milliseconds, self.request_bytes, self.response_bytes]
    }
}

/// As [`RequestCells`], for buckets that the application chose: in the order of the families, and
/// without care for cache lines.
#[derive(Debug)]
pub(in crate::metrics) struct ChosenCells {
    sums: [AtomicU64; FAMILIES],
    buckets: [[AtomicU64; MAX_BOUNDS + 1]; FAMILIES],
}

impl Default for ChosenCells {
    fn default() -> Self {
        Self {
            sums: [const { AtomicU64::new(0) }; FAMILIES],
            buckets: [const { [const { AtomicU64::new(0) }; MAX_BOUNDS + 1] }; FAMILIES],
        }
    }
}

impl ChosenCells {
    pub(super) fn observe(&self, observed: Observed, buckets: &Buckets) {
        let values = observed.values();
        let found = self.buckets.iter().zip(buckets.find(values));
        for cell in found.filter_map(|(cells, bucket)| cells.get(bucket)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        for (sum, value) in self.sums.iter().zip(values) {
            sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Moves the counts of another stripe to this one.
    pub(super) fn take(&self, from: &Self) {
        let pairs = self
            .buckets
            .iter()
            .flatten()
            .zip(from.buckets.iter().flatten());
        pairs
            .chain(self.sums.iter().zip(&from.sums))
            .for_each(|(to, from)| take(to, from));
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut cells = self.buckets.iter().flatten().chain(&self.sums);
        cells.all(|cell| cell.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn add_to(&self, totals: &mut RequestTotals) {
        let [duration, request, response] = &mut totals.0;
        for ((total, cells), sum) in [duration, request, response]
            .into_iter()
            .zip(&self.buckets)
            .zip(&self.sums)
        {
            total.add(cells.iter(), sum);
        }
    }
}

/// What the request families hold at one moment. `istio_requests_total` is the count of the
/// durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct RequestTotals([HistogramTotals; FAMILIES]);

impl RequestTotals {
    /// Without any request.
    pub(super) fn new(buckets: &Buckets) -> Self {
        Self(buckets.sizes().map(HistogramTotals::new))
    }

    /// How many requests there were.
    pub(in crate::metrics) fn count(&self) -> u64 {
        self.0.first().map_or(0, HistogramTotals::count)
    }

    /// One histogram.
    pub(in crate::metrics) fn histogram(&self, family: usize) -> Option<&HistogramTotals> {
        self.0.get(family)
    }
}

impl RequestCells {
    pub(super) fn observe(&self, observed: Observed) {
        let Observed {
            milliseconds,
            request_bytes,
            response_bytes,
        } = observed;
        let duration = bucket(milliseconds);
        let short = self.short_durations.get(duration);
        let long = || self.long_durations.get(duration - SHORT_DURATIONS);
        let request = self.sizes.get(bucket(request_bytes));
        let response = self.sizes.get(bucket(response_bytes));
        let cells = [
            short.or_else(long),
            request.map(|[request, _]| request),
            response.map(|[_, response]| response),
        ];
        for cell in cells.into_iter().flatten() {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        let values = [milliseconds, request_bytes, response_bytes];
        for (sum, value) in self.sums.iter().zip(values) {
            sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Moves the counts of another stripe to this one.
    pub(super) fn take(&self, from: &Self) {
        self.cells()
            .zip(from.cells())
            .for_each(|(to, from)| take(to, from));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells().all(|cell| cell.load(Ordering::Relaxed) == 0)
    }

    fn cells(&self) -> impl Iterator<Item = &AtomicU64> {
        let sizes = self.sizes.iter().flatten();
        self.sums.iter().chain(self.durations()).chain(sizes)
    }

    fn durations(&self) -> impl Iterator<Item = &AtomicU64> {
        self.short_durations.iter().chain(&self.long_durations)
    }

    /// Adds what was counted here to the totals.
    pub(super) fn add_to(&self, totals: &mut RequestTotals) {
        let [duration, request, response] = &self.sums;
        let [durations, requests, responses] = &mut totals.0;
        durations.add(self.durations(), duration);
        requests.add(self.sizes.iter().map(|[request, _]| request), request);
        responses.add(self.sizes.iter().map(|[_, response]| response), response);
    }
}

/// The first bucket whose bound is not below the value. One comparison for each bound and no branch
/// is quicker than a search among so few.
fn bucket(value: u64) -> usize {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    BOUNDS.iter().map(|bound| usize::from(*bound < value)).sum()
}

/// What a histogram holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct HistogramTotals {
    buckets: Box<[u64]>,
    sum: u64,
    /// Whether the sum is of nanoseconds and shown in seconds.
    is_nanoseconds: bool,
}

impl HistogramTotals {
    fn new(buckets: usize) -> Self {
        Self {
            buckets: vec![0; buckets].into(),
            sum: 0,
            is_nanoseconds: false,
        }
    }

    /// A histogram of seconds whose sum is kept in nanoseconds.
    pub(in crate::metrics) fn of_nanoseconds(buckets: usize) -> Self {
        Self {
            is_nanoseconds: true,
            ..Self::new(buckets)
        }
    }

    /// A histogram of sizes.
    pub(in crate::metrics) fn of_bytes(buckets: usize) -> Self {
        Self::new(buckets)
    }

    /// The sum of all values.
    pub(in crate::metrics) fn sum(&self) -> Value {
        match self.is_nanoseconds {
            true => Value::Float(Duration::from_nanos(self.sum).as_secs_f64()),
            false => Value::Whole(self.sum),
        }
    }

    /// How many values lie in each bucket alone.
    #[cfg_attr(
        not(any(
            feature = "prometheus-client",
            all(feature = "otlp", feature = "server", feature = "client")
        )),
        allow(dead_code, reason = "text adds them up")
    )]
    pub(in crate::metrics) fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    pub(in crate::metrics) fn add<'a>(
        &mut self,
        buckets: impl Iterator<Item = &'a AtomicU64>,
        sum: &AtomicU64,
    ) {
        for (total, cell) in self.buckets.iter_mut().zip(buckets) {
            *total += cell.load(Ordering::Relaxed);
        }
        self.sum = self.sum.wrapping_add(sum.load(Ordering::Relaxed));
    }

    /// Adds what another series holds.
    pub(in crate::metrics) fn merge(&mut self, other: &Self) {
        for (total, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *total += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many values were observed. It is the sum of the buckets, so that the two always agree.
    pub(in crate::metrics) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Each bucket's upper bound as Envoy writes it, and how many values lie at or under it.
    pub(in crate::metrics) fn cumulative<'a>(
        &'a self,
        bounds: &'a Bounds,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        bounds.le().zip(&self.buckets).scan(0, |below, (le, here)| {
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

const BUCKETS: usize = 20;

/// How many buckets of durations come before the sizes.
const SHORT_DURATIONS: usize = 9;

/// Moves a count from one cell to another, while others may be adding to both.
pub(in crate::metrics) fn take(to: &AtomicU64, from: &AtomicU64) {
    if from.load(Ordering::Relaxed) > 0 {
        to.fetch_add(from.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

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
        let mut totals = RequestTotals::new(Buckets::usual());
        cells.add_to(&mut totals);
        totals.histogram(0).unwrap().clone()
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
            let totals = totals(&[value]);
            let first = totals
                .cumulative(Buckets::usual().get(0).unwrap())
                .find(|(_, count)| *count == 1)
                .map(|(le, _)| le);
            assert_eq!(first, Some(le), "{value}");
        }
    }

    #[test]
    fn the_bounds_are_what_is_printed() {
        for (bound, le) in BOUNDS
            .iter()
            .zip(Buckets::usual().get(0).unwrap().le())
            .skip(1)
        {
            assert_eq!(bound.to_string(), le);
        }
    }

    #[test]
    fn usual_calls_touch_few_lines() {
        assert_eq!(
            offset_of!(RequestCells, short_durations) + 8 * bucket(26),
            64
        );
        let first = offset_of!(RequestCells, sizes);
        assert_eq!((first + 16 * bucket(51)) % 64, 0);
        assert_eq!((first + 16 * bucket(1001)) % 64, 0);
        assert_eq!(bucket(1001) - bucket(51), 4);
    }

    #[test]
    fn the_histograms_do_not_mix() {
        let cells = RequestCells::default();
        cells.observe(Observed {
            milliseconds: 7,
            request_bytes: 300,
            response_bytes: 5_000_000,
        });
        let mut totals = RequestTotals::new(Buckets::usual());
        cells.add_to(&mut totals);
        let duration = HistogramTotals {
            sum: 7,
            is_nanoseconds: false,
            buckets: (0..BUCKETS).map(|bucket| u64::from(bucket == 3)).collect(),
        };
        let family = |family| totals.histogram(family).unwrap();
        assert_eq!(*family(0), duration);
        assert_eq!(family(1).sum, 300);
        assert_eq!(family(2).sum, 5_000_000);
        assert_eq!(family(2).buckets.last(), Some(&1));
    }

    #[test]
    fn chosen_buckets_count_the_same() {
        let observed = Observed {
            milliseconds: 7,
            request_bytes: 300,
            response_bytes: 5_000_000,
        };
        let (usual, chosen) = (RequestCells::default(), ChosenCells::default());
        usual.observe(observed);
        chosen.observe(observed, Buckets::usual());
        let mut totals = [
            RequestTotals::new(Buckets::usual()),
            RequestTotals::new(Buckets::usual()),
        ];
        usual.add_to(&mut totals[0]);
        chosen.add_to(&mut totals[1]);
        assert_eq!(totals[0], totals[1]);
        let moved = ChosenCells::default();
        moved.take(&chosen);
        let mut after = RequestTotals::new(Buckets::usual());
        moved.add_to(&mut after);
        assert_eq!(after, totals[0]);
    }

    proptest! {
        #[test]
        fn the_last_bucket_is_the_count(values in prop::collection::vec(0u64..10_000_000, 0..50)) {
            let totals = totals(&values);
            let bounds = Buckets::usual().get(0).unwrap();
            let cumulative: Vec<_> = totals.cumulative(bounds).map(|(_, count)| count).collect();
            prop_assert!(cumulative.is_sorted());
            prop_assert_eq!(cumulative.last().copied(), Some(values.len() as u64));
            prop_assert_eq!(totals.count(), values.len() as u64);
            prop_assert_eq!(totals.sum, values.iter().sum::<u64>());
        }
    }
}
