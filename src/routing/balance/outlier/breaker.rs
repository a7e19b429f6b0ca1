//! A breaker of one host, as Linkerd's failure accrual. Istio has no field for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Seven failures in a row shut a host. After a while one call probes it: a success opens it, and a
/// failure shuts it again for twice as long. It is shut for 1 s at first and up to half as much more
/// by chance, and never for more than 60 s.
///
/// Unlike an ejection it does not depend on the other hosts: a lone host can be shut, too. Nothing
/// locks.
#[derive(Debug, Default)]
pub struct HostBreaker {
    failures: AtomicU32,
    /// How often it was shut in a row.
    shut: AtomicU32,
    /// When the next probe may be made, and 1, in nanoseconds; 0: it is open.
    probe_at: AtomicU64,
}

/// A call that a [`HostBreaker`] admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAdmission {
    is_probe: bool,
}

impl HostBreaker {
    /// A call that may go to the host now; `None` while it is shut. Of several calls one is the
    /// probe. Should that never be [recorded](Self::record), the next is due after 60 s.
    pub fn admit(&self, now: Duration) -> Option<HostAdmission> {
        let due = self.probe_at.load(Ordering::Acquire);
        if due == 0 {
            return Some(HostAdmission { is_probe: false });
        }
        let next = stamp(now.saturating_add(LONGEST_SHUT));
        let (set, fetch) = (Ordering::AcqRel, Ordering::Relaxed);
        let is_probe = stamp(now) >= due
            && self
                .probe_at
                .compare_exchange(due, next, set, fetch)
                .is_ok();
        is_probe.then_some(HostAdmission { is_probe })
    }

    /// A call ended. Returns whether this shut the host, again or for the first time.
    ///
    /// While it is shut, calls that were admitted before do not count.
    pub fn record(
        &self,
        admission: HostAdmission,
        is_success: bool,
        now: Duration,
        random: u64,
    ) -> bool {
        if !admission.is_probe && self.is_shut() {
            return false;
        }
        if is_success {
            // Most calls find this at zero, and then nothing is written.
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            if admission.is_probe {
                self.shut.store(0, Ordering::Relaxed);
                self.probe_at.store(0, Ordering::Release);
            }
            return false;
        }
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        // INVARIANT: of several threads one sees the limit, so one shuts it.
        if !admission.is_probe && failures != MOST_FAILURES {
            return false;
        }
        let before = self.shut.fetch_add(1, Ordering::Relaxed);
        let until = now.saturating_add(shut_for(before, random));
        self.probe_at.store(stamp(until), Ordering::Release);
        true
    }

    /// Whether it is shut. A probe may be due.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.probe_at.load(Ordering::Acquire) != 0
    }
}

/// How long it is shut after it was so often before.
fn shut_for(before: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
    let base = SHORTEST_SHUT.saturating_mul(factor).min(LONGEST_SHUT);
    // The upper half of the number, of which half is the jitter.
    let part = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    let jitter = base.mul_f64(f64::from(part) / f64::from(u32::MAX) / 2.0);
    base.saturating_add(jitter).min(LONGEST_SHUT)
}

/// A time of which 0 is none.
fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// Linkerd's documented defaults.
const MOST_FAILURES: u32 = 7;
const SHORTEST_SHUT: Duration = Duration::from_secs(1);
const LONGEST_SHUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call(breaker: &HostBreaker, is_success: bool, now: Duration) -> Option<bool> {
        let admission = breaker.admit(now)?;
        Some(breaker.record(admission, is_success, now, 0))
    }

    fn shut(breaker: &HostBreaker) {
        for failure in 1..=7 {
            assert_eq!(call(breaker, false, seconds(0)), Some(failure == 7));
        }
    }

    #[test]
    fn seven_failures_in_a_row_shut_a_host() {
        let breaker = HostBreaker::default();
        for _ in 0..6 {
            assert_eq!(call(&breaker, false, seconds(0)), Some(false));
        }
        call(&breaker, true, seconds(0));
        for _ in 0..6 {
            assert_eq!(call(&breaker, false, seconds(0)), Some(false));
        }
        assert!(!breaker.is_shut());
        assert_eq!(call(&breaker, false, seconds(0)), Some(true));
        assert_eq!(breaker.admit(Duration::from_millis(999)), None);
    }

    #[test]
    fn one_call_probes_and_each_failure_shuts_for_twice_as_long() {
        let breaker = HostBreaker::default();
        let before = breaker.admit(seconds(0)).unwrap();
        shut(&breaker);
        let mut now = seconds(0);
        for shut in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(
                breaker.admit(now + seconds(shut) - Duration::from_nanos(1)),
                None
            );
            now += seconds(shut);
            let probe = breaker.admit(now).unwrap();
            assert_eq!(breaker.admit(now), None);
            // A call of before says nothing now, neither way.
            assert!(!breaker.record(before, true, now, 0));
            assert!(!breaker.record(before, false, now, 0));
            assert!(breaker.record(probe, false, now, 0));
        }
        assert_eq!(call(&breaker, true, now + seconds(60)), Some(false));
        assert!(!breaker.is_shut());
        // And all begins anew.
        for failure in 1..=7 {
            assert_eq!(call(&breaker, false, now), Some(failure == 7));
        }
        assert!(breaker.admit(now + seconds(1)).is_some());
    }

    #[test]
    fn a_probe_that_is_lost_is_followed_by_another() {
        let breaker = HostBreaker::default();
        shut(&breaker);
        assert!(breaker.admit(seconds(1)).is_some());
        assert_eq!(breaker.admit(seconds(60)), None);
        assert!(breaker.admit(seconds(61)).is_some());
    }

    #[test]
    fn chance_adds_up_to_half_but_no_more_than_a_minute() {
        for (before, random, millis) in [
            (0, 0, 1000),
            (0, u64::MAX, 1500),
            (3, u64::MAX, 12_000),
            (5, u64::MAX, 48_000),
            (6, u64::MAX, 60_000),
            (99, 0, 60_000),
        ] {
            assert_eq!(shut_for(before, random), Duration::from_millis(millis));
        }
    }

    #[test]
    fn of_many_threads_one_probes() {
        let breaker = HostBreaker::default();
        shut(&breaker);
        let breaker = &breaker;
        let probes: usize = std::thread::scope(|scope| {
            let admit = move || {
                (0..100)
                    .filter(|_| breaker.admit(seconds(2)).is_some())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(probes, 1);
    }
}
