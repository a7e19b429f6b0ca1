//! Counts what each limit does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::striped::Striped;

/// What a limit did with the requests that it judged. Threads that count at once do not wait for
/// each other.
#[derive(Debug)]
pub(crate) struct Counts {
    /// The name of the limit, which is the value of its label.
    name: Arc<str>,
    cells: Striped<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    overflow: AtomicU64,
}

/// What a limit did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request is within the limit.
    Ok,
    /// It was refused.
    Limited,
    /// It would have been refused, but the limit only reports.
    ReportOnly,
    /// The service that counts gave no answer.
    Error,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Limited, Self::ReportOnly, Self::Error];
}

impl Counts {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            cells: Striped::new(),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn add(&self, outcome: Outcome) {
        let cells = self.cells.local();
        if let Some(count) = cells.and_then(|cells| cells.outcomes.get(outcome as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that was judged by the bucket of values without one of their own.
    pub(crate) fn add_overflow(&self) {
        if let Some(cells) = self.cells.local() {
            cells.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.sum(|cells| cells.outcomes.get(outcome as usize))
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.sum(|cells| Some(&cells.overflow))
    }

    fn sum(&self, cell: impl Fn(&Cells) -> Option<&AtomicU64>) -> u64 {
        let cells = self.cells.iter().filter_map(cell);
        cells.map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}
