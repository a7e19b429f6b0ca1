//! What a concurrency limit does, for applications and for metrics.

use std::sync::Arc;

use super::limiter::Limiter;

/// What a concurrency limit does at present. Clones are the same limit.
#[derive(Clone, Debug)]
pub struct ConcurrencyStats(pub(super) Arc<Limiter>);

impl ConcurrencyStats {
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the metrics of a mesh")
    )]
    pub(crate) fn new(limiter: &Arc<Limiter>) -> Self {
        Self(Arc::clone(limiter))
    }

    /// How many requests may be under way at once. Of an adaptive limit a few more may be, when
    /// streams use it up.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.0.limit()
    }

    /// How many requests are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight()
    }

    /// How many requests were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused()
    }
}
