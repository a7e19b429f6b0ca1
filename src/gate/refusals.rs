//! Counts what the gate refuses.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Refusal;

/// How many requests were refused for each reason. Nothing locks, and nothing grows.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many requests were refused for this reason.
    #[must_use]
    pub fn count(&self, reason: Refusal) -> u64 {
        let count = self.0.get(reason as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Each reason with its count.
    pub fn each(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let reasons = Refusal::ALL.into_iter();
        reasons.map(|reason| (reason, self.count(reason)))
    }

    pub(crate) fn add(&self, reason: Refusal) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
