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

/// A call that may be made. Dropped without a result, it leaves the breaker as it was.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    breaker: &'a Breaker,
    /// For a probe: when the next one was due before it, and when it is because of it.
    probe: Option<(u64, u64)>,
}

impl Breaker {
    /// A call that may be made now; `None` while the breaker is open.
    pub(super) fn admit(&self, now: Duration) -> Option<Admitted<'_>> {
        let until = self.open_until.load(Ordering::Acquire);
        let mut admitted = Admitted {
            breaker: self,
            probe: None,
        };
        if until == 0 {
            return Some(admitted);
        }
        // Of several requests one wins. Should it hang, the next second has another probe.
        let now = millis(now);
        let next = now.saturating_add(OPEN_MILLIS);
        if now < until || !self.replace(until, next) {
            return None;
        }
        admitted.probe = Some((until, next));
        Some(admitted)
    }

    fn replace(&self, before: u64, after: u64) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.open_until
            .compare_exchange(before, after, success, failure)
            .is_ok()
    }

    fn answered(&self) {
        // Most calls find both at zero, and then write nothing. Both count: another thread may open
        // the breaker between the two stores.
        let is_closed = self.open_until.load(Ordering::Acquire) == 0;
        if !is_closed || self.errors.load(Ordering::Relaxed) > 0 {
            self.errors.store(0, Ordering::Relaxed);
            self.open_until.store(0, Ordering::Release);
        }
    }

    fn failed(&self, now: Duration) -> bool {
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

impl Admitted<'_> {
    /// Records the result of the call. Returns `true` if this opens the breaker.
    pub(super) fn record(mut self, is_answered: bool, now: Duration) -> bool {
        self.probe = None;
        if is_answered {
            self.breaker.answered();
            return false;
        }
        self.breaker.failed(now)
    }
}

impl Drop for Admitted<'_> {
    /// A caller that goes away, or whose own time is over, says nothing about the service.
    fn drop(&mut self) {
        if let Some((until, next)) = self.probe {
            self.breaker.replace(next, until);
        }
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

    fn record(breaker: &Breaker, is_answered: bool, now: Duration) -> bool {
        let admitted = Admitted {
            breaker,
            probe: None,
        };
        admitted.record(is_answered, now)
    }

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        let opens: Vec<_> = (0..5).map(|_| record(&breaker, false, at(10))).collect();
        assert_eq!(opens, [false, false, false, false, true]);
        breaker
    }

    /// How many of a hundred calls that end at this time are admitted, none with a result before.
    fn admitted(breaker: &Breaker, now: Duration) -> usize {
        let calls: Vec<_> = (0..100).filter_map(|_| breaker.admit(now)).collect();
        calls.len()
    }

    #[test]
    fn five_errors_in_a_row_open_it_for_a_second() {
        let breaker = opened();
        assert!(breaker.admit(at(10)).is_none());
        assert!(breaker.admit(at(1_009)).is_none());
        assert!(breaker.admit(at(1_010)).is_some());
    }

    #[test]
    fn an_answer_between_errors_keeps_it_closed() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 0..4 {
                assert!(!record(&breaker, false, at(1)));
            }
            assert!(!record(&breaker, true, at(1)));
        }
        assert_eq!(admitted(&breaker, at(1)), 100);
    }

    #[test]
    fn one_probe_decides_whether_it_closes() {
        let breaker = opened();
        let probe = breaker.admit(at(2_000)).unwrap();
        assert_eq!(admitted(&breaker, at(2_000)), 0);
        // It fails: a second more, and no second opening.
        assert!(!probe.record(false, at(2_500)));
        assert!(breaker.admit(at(3_499)).is_none());
        breaker.admit(at(3_500)).unwrap().record(true, at(3_501));
        assert_eq!(admitted(&breaker, at(3_502)), 100);
        // After that, five errors are needed again.
        assert!(!record(&breaker, false, at(3_503)));
        assert_eq!(admitted(&breaker, at(3_504)), 100);
    }

    /// Its caller may go away while it is asked: the next request is the probe.
    #[test]
    fn a_probe_that_is_dropped_is_given_back() {
        let breaker = opened();
        drop(breaker.admit(at(1_010)).unwrap());
        let second = breaker.admit(at(1_011)).unwrap();
        assert!(breaker.admit(at(1_012)).is_none());
        assert!(!second.record(true, at(1_013)));
        assert_eq!(admitted(&breaker, at(1_014)), 100);
    }

    /// An answer comes between the count of the last error and the opening.
    #[test]
    fn an_open_breaker_without_errors_closes_with_the_next_answer() {
        let breaker = Breaker::default();
        breaker.open_until.store(1_000, Ordering::Release);
        breaker.admit(at(1_000)).unwrap().record(true, at(1_001));
        assert_eq!(admitted(&breaker, at(1_002)), 100);
    }

    #[test]
    fn threads_find_one_probe() {
        let breaker = opened();
        let found: usize = std::thread::scope(|scope| {
            let count = || {
                let calls = (0..1_000).filter_map(|_| breaker.admit(at(5_000)));
                calls.map(std::mem::forget).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(found, 1);
    }
}
