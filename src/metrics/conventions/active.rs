use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;

use super::names::{ACTIVE, OVERFLOW};
use crate::metrics::store::append_only_map::AppendOnlyMap;
use crate::metrics::store::series::MAX_SERIES;

/// The exchanges that have begun and have not ended, by side and written labels.
///
/// There are at most 2000 series in all. What would need one more is counted under the label
/// `otel_metric_overflow`.
#[derive(Debug)]
pub(in crate::metrics) struct ActiveRequests {
    hasher: RandomState,
    series: AppendOnlyMap<Series, 64>,
    count: AtomicUsize,
}

#[derive(Debug)]
struct Series {
    side: usize,
    labels: Box<str>,
    active: Arc<AtomicU64>,
}

/// An exchange that has not ended; it has when this is dropped.
#[derive(Debug)]
pub(in crate::metrics) struct ActiveRequest(Arc<AtomicU64>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ActiveRequests {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            series: AppendOnlyMap::new(),
            count: AtomicUsize::new(0),
        }
    }

    /// An exchange has begun. `None` only where memory is short.
    pub(super) fn begin(&self, side: usize, labels: &str) -> Option<ActiveRequest> {
        let series = self
            .find(side, labels)
            .or_else(|| self.find(side, OVERFLOW))?;
        series.active.fetch_add(1, Ordering::Relaxed);
        Some(ActiveRequest(Arc::clone(&series.active)))
    }

    fn find(&self, side: usize, labels: &str) -> Option<&Series> {
        let hash = self.hasher.hash_one((side, labels));
        let is = |series: &Series| series.side == side && *series.labels == *labels;
        if let Some(series) = self.series.get(hash, is) {
            return Some(series);
        }
        // Racing threads may go past the bound by their own number.
        let room = MAX_SERIES - ACTIVE.len();
        if labels != OVERFLOW && self.count.load(Ordering::Relaxed) >= room {
            return None;
        }
        let new = Series {
            side,
            labels: labels.into(),
            active: Arc::default(),
        };
        let (series, is_new) = self.series.get_or_add(hash, is, new)?;
        self.count.fetch_add(usize::from(is_new), Ordering::Relaxed);
        Some(series)
    }

    /// All series of a side.
    pub(in crate::metrics) fn rows(&self, side: usize) -> Vec<(Box<str>, u64)> {
        let series = self.series.iter().filter(|series| series.side == side);
        let row = |series: &Series| (series.labels.clone(), series.active.load(Ordering::Relaxed));
        series.map(row).collect()
    }
}
