use std::sync::atomic::{AtomicU64, Ordering};

use super::reason::Reason;

/// What became of the handshakes of a listener: counters, read for metrics.
#[derive(Debug)]
pub struct Tally {
    accepted: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    pub(super) accept_errors: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            accept_errors: AtomicU64::new(0),
        }
    }
}

impl Tally {
    pub(super) fn count(&self, refused: Option<Reason>) {
        let counter = match refused {
            Some(reason) => self
                .refused
                .get(reason.index())
                .unwrap_or(&self.accept_errors),
            None => &self.accepted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that were accepted, plaintext ones included.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        let counter = self.refused.get(reason.index());
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Connections refused, by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL
            .iter()
            .map(|&reason| (reason, self.refused(reason)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How often the socket itself failed, mostly for want of file descriptors.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }
}
