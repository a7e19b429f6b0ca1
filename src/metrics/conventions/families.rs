use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::active::ActiveRequests;
use super::names::{FAMILIES, OVERFLOW};
use crate::metrics::store::append_only_map::AppendOnlyMap;
use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::series::MAX_SERIES;
use crate::striped::Striped;

/// The histograms of the conventions, by family and written labels, and what is active.
///
/// There are at most 2000 series in all. What would need one more is counted under the label
/// `otel_metric_overflow`, as OpenTelemetry's SDKs do.
#[derive(Debug)]
pub(in crate::metrics) struct Conventions {
    hasher: RandomState,
    series: AppendOnlyMap<Series, 256>,
    count: AtomicUsize,
    /// `None` without the metrics that the conventions make opt-in.
    pub(super) active: Option<ActiveRequests>,
}

#[derive(Debug)]
struct Series {
    family: usize,
    labels: Box<str>,
    cells: Striped<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; BYTES.len() + 1],
    /// Of nanoseconds, or of bytes.
    sum: AtomicU64,
}

/// What one series holds at one moment.
#[derive(Debug)]
pub(in crate::metrics) struct HistogramRow {
    pub(in crate::metrics) labels: Box<str>,
    pub(in crate::metrics) totals: HistogramTotals,
}

impl Conventions {
    /// With the metrics that the conventions make opt-in, or without.
    pub(in crate::metrics) fn new(has_opt_in: bool) -> Self {
        Self {
            hasher: RandomState::default(),
            series: AppendOnlyMap::new(),
            count: AtomicUsize::new(0),
            active: has_opt_in.then(ActiveRequests::new),
        }
    }

    /// Adds one request to a family of durations.
    pub(super) fn add(&self, family: usize, labels: &str, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = SECONDS.iter().filter(|bound| **bound < seconds).count();
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.observe(family, labels, bucket, nanoseconds);
    }

    /// Adds one request to a family of sizes.
    pub(super) fn add_size(&self, family: usize, labels: &str, bytes: u64) {
        let size = bytes as f64;
        let bucket = BYTES.iter().filter(|bound| **bound < size).count();
        self.observe(family, labels, bucket, bytes);
    }

    fn observe(&self, family: usize, labels: &str, bucket: usize, value: u64) {
        let series = self
            .find(family, labels)
            .or_else(|| self.find(family, OVERFLOW));
        if let Some(cells) = series.and_then(|series| series.cells.local()) {
            if let Some(bucket) = cells.buckets.get(bucket) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
            cells.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// The exchanges that have not ended; `None` where nobody wants to know.
    pub(in crate::metrics) fn active(&self) -> Option<&ActiveRequests> {
        self.active.as_ref()
    }

    fn find(&self, family: usize, labels: &str) -> Option<&Series> {
        let hash = self.hasher.hash_one((family, labels));
        let is = |series: &Series| series.family == family && *series.labels == *labels;
        if let Some(series) = self.series.get(hash, is) {
            return Some(series);
        }
        // Racing threads may go past the bound by their own number.
        let room = MAX_SERIES - FAMILIES.len();
        if labels != OVERFLOW && self.count.load(Ordering::Relaxed) >= room {
            return None;
        }
        let new = Series {
            family,
            labels: labels.into(),
            cells: Striped::new(),
        };
        let (series, is_new) = self.series.get_or_add(hash, is, new)?;
        self.count.fetch_add(usize::from(is_new), Ordering::Relaxed);
        Some(series)
    }

    /// All series of a family.
    pub(in crate::metrics) fn rows(&self, family: usize) -> Vec<HistogramRow> {
        let series = self.series.iter().filter(|series| series.family == family);
        let row = |series: &Series| {
            let mut totals = match is_of_sizes(family) {
                true => HistogramTotals::of_bytes(BYTES.len() + 1),
                false => HistogramTotals::of_nanoseconds(SECONDS.len() + 1),
            };
            for cells in series.cells.iter() {
                totals.add(cells.buckets.iter(), &cells.sum);
            }
            HistogramRow {
                labels: series.labels.clone(),
                totals,
            }
        };
        series.map(row).collect()
    }
}

/// The bounds of a family.
pub(in crate::metrics) fn bounds(family: usize) -> &'static Bounds {
    static OF_SECONDS: LazyLock<Bounds> = LazyLock::new(|| Bounds::made(&SECONDS));
    static OF_BYTES: LazyLock<Bounds> = LazyLock::new(|| Bounds::made(&BYTES));
    match is_of_sizes(family) {
        true => &OF_BYTES,
        false => &OF_SECONDS,
    }
}

const fn is_of_sizes(family: usize) -> bool {
    family >= HTTP_SERVER_REQUEST_SIZE
}

pub(super) const HTTP_SERVER: usize = 0;
pub(super) const HTTP_CLIENT: usize = 1;
pub(super) const RPC_SERVER: usize = 2;
pub(super) const RPC_CLIENT: usize = 3;
pub(super) const HTTP_SERVER_REQUEST_SIZE: usize = 4;
pub(super) const HTTP_SERVER_RESPONSE_SIZE: usize = 5;
pub(super) const HTTP_CLIENT_REQUEST_SIZE: usize = 6;
pub(super) const HTTP_CLIENT_RESPONSE_SIZE: usize = 7;

/// What the conventions advise.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// They advise nothing for sizes, so these are the bounds of OpenTelemetry's SDKs.
const BYTES: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10_000.0,
];
