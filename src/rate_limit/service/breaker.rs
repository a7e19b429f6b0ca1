//! Leaves a service alone that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Opens after five errors in a row, for one second; then one call in each second probes the
/// service, until one gets an answer. Calls that are not made count as errors of the service.
///
/// Times are those of a monotonic clock, since any beginning.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Errors in a row.
    errors: AtomicU32,
    /// The millisecond at which the next call may be made; 0: it is closed.
    open_until: AtomicU64,
}

impl Breaker {
    /// Whether a call may be made now.
    pub(super) fn admits(&self, now: Duration) -> bool {
        let until = self.open_until.load(Ordering::Acquire);
        if until == 0 {
            return true;
        }
        // Of several requests one wins. Should it go away without a result, the next second has
        // another probe.
        let now = millis(now);
        let next = now.saturating_add(OPEN_MILLIS);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        now >= until
            && self
                .open_until
                .compare_exchange(until, next, order.0, order.1)
                .is_ok()
    }

    /// Records the result of a call. Returns `true` if this opens the breaker.
    pub(super) fn record(&self, is_answered: bool, now: Duration) -> bool {
        if is_answered {
            // Most calls find both at zero, and then write nothing.
            if self.errors.load(Ordering::Relaxed) > 0 {
                self.errors.store(0, Ordering::Relaxed);
                self.open_until.store(0, Ordering::Release);
            }
            return false;
        }
        let order = Ordering::Relaxed;
        let count = |errors: u32| errors.checked_add(1);
        let before = self.errors.fetch_update(order, order, count);
        let errors = before.unwrap_or(u32::MAX).saturating_add(1);
        if errors < MOST_ERRORS {
            return false;
        }
        let until = millis(now).saturating_add(OPEN_MILLIS);
        self.open_until.swap(until, Ordering::AcqRel) == 0
    }
}

/// Never zero.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

const MOST_ERRORS: u32 = 5;
const OPEN_MILLIS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        let opens: Vec<_> = (0..5).map(|_| breaker.record(false, at(10))).collect();
        assert_eq!(opens, [false, false, false, false, true]);
        breaker
    }

    #[test]
    fn five_errors_in_a_row_open_it_for_a_second() {
        let breaker = opened();
        assert!(!breaker.admits(at(10)));
        assert!(!breaker.admits(at(1_009)));
        assert!(breaker.admits(at(1_010)));
    }

    #[test]
    fn an_answer_between_errors_keeps_it_closed() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 0..4 {
                assert!(!breaker.record(false, at(1)));
            }
            assert!(!breaker.record(true, at(1)));
        }
        assert!(breaker.admits(at(1)));
    }

    #[test]
    fn one_probe_decides_whether_it_closes() {
        let breaker = opened();
        let probes = (0..100).filter(|_| breaker.admits(at(2_000)));
        assert_eq!(probes.count(), 1);
        // It fails: a second more, and no second opening.
        assert!(!breaker.record(false, at(2_500)));
        assert!(!breaker.admits(at(3_499)));
        assert!(breaker.admits(at(3_500)));
        breaker.record(true, at(3_501));
        assert_eq!((0..100).filter(|_| breaker.admits(at(3_502))).count(), 100);
        // After that, five errors are needed again.
        assert!(!breaker.record(false, at(3_503)));
        assert!(breaker.admits(at(3_504)));
    }

    /// Its caller may go away while it is asked.
    #[test]
    fn a_probe_without_a_result_does_not_keep_it_open() {
        let breaker = opened();
        assert!(breaker.admits(at(1_010)));
        assert!(!breaker.admits(at(2_009)));
        assert!(breaker.admits(at(2_010)));
    }

    #[test]
    fn threads_find_one_probe() {
        let breaker = opened();
        let admitted: usize = std::thread::scope(|scope| {
            let count = || (0..1_000).filter(|_| breaker.admits(at(5_000))).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 1);
    }
}
