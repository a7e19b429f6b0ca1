//! What a limit has done, for applications and for metrics.

use std::sync::Arc;

use super::counts::{Counts, Outcome};
use super::local::LocalLimit;
use super::running::RunningLimit;

/// What one limit has done so far. Clones are the same counts.
#[derive(Clone, Debug)]
pub struct LimitStats {
    counts: Arc<Counts>,
    local: Option<Arc<LocalLimit>>,
}

impl LimitStats {
    pub(crate) fn new(limit: &RunningLimit) -> Self {
        Self {
            counts: Arc::clone(limit.counts()),
            local: limit.local().cloned(),
        }
    }

    /// Gives the stats as long as the limit runs. Metrics hold this, so that a limit that a reload
    /// removes is freed and leaves no series.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the metrics of a mesh")
    )]
    pub(crate) fn while_it_runs(
        limit: &Arc<RunningLimit>,
    ) -> impl Fn() -> Option<Self> + Clone + Send + Sync + 'static + use<> {
        let limit = Arc::downgrade(limit);
        move || limit.upgrade().map(|limit| Self::new(&limit))
    }

    /// The name of the limit, with its namespace if it has one (`clinic/reads`).
    #[must_use]
    pub fn name(&self) -> &str {
        self.counts.name()
    }

    /// How many requests were within the limit.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.counts.count(Outcome::Ok)
    }

    /// How many requests were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.count(Outcome::Limited)
    }

    /// How many requests were over the limit and passed, because it only reports.
    #[must_use]
    pub fn reported(&self) -> u64 {
        self.counts.count(Outcome::ReportOnly)
    }

    /// How many requests a rate limit service gave no answer for.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.counts.count(Outcome::Error)
    }

    /// How many requests had a value that found no bucket of its own, because all buckets belong to
    /// values that are in use. They were judged by one bucket that such values share.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.counts.overflow()
    }

    /// How many values have a bucket of their own at present.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.local.as_ref().map_or(0, |local| local.keys())
    }
}
