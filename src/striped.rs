//! Counts that many threads write at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cells of one series, with one copy for each stripe of threads, so that threads which count the
/// same thing do not contend for a cache line.
///
/// A thread keeps its stripe for life. A stripe's copy is made when its first thread counts, so
/// that a series which one thread counts has one copy.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    stripes: [OnceLock<Box<Line<T>>>; STRIPES],
}

/// Keeps neighbours off the cache line, and off the pair of lines that is prefetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

impl<T: Default> Striped<T> {
    pub(crate) const fn new() -> Self {
        Self {
            stripes: [const { OnceLock::new() }; STRIPES],
        }
    }

    /// This thread's copy. The only allocation is the one at the stripe's first use.
    pub(crate) fn local(&self) -> Option<&T> {
        let stripe = self.stripes.get(stripe())?;
        Some(&stripe.get_or_init(Box::default).0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn threads_lose_nothing() {
        let striped = Striped::<AtomicU64>::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                let cells = || striped.local().unwrap();
                scope.spawn(move || {
                    for value in 0..1000 {
                        cells().fetch_add(value, Ordering::Relaxed);
                    }
                });
            }
        });
        let total: u64 = striped
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .sum();
        assert_eq!(total, 2 * STRIPES as u64 * 499_500);
    }
}
