//! Peak EWMA: an average of latencies that rises at once and falls slowly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a host's answers take: an exponentially weighted moving average that a longer sample
/// replaces at once. Linkerd's and tower's Peak EWMA; Istio has no field for it.
///
/// A sample `s` that came `t` after the last makes `rtt` to `s` if `s > rtt`, and else to
/// `rtt·e^(−t/τ) + s·(1 − e^(−t/τ))`, with τ = 10 s. Reading lets it fall toward zero in the same
/// way, so that a host that was slow is tried again. A host without samples has 30 ms.
///
/// A host that fails at once would look best. A failure therefore counts as a sample of 5 s, or of
/// what its `retry-after` says up to 300 s.
///
/// The state is one word: the average, as a single-precision float of seconds, and the millisecond
/// of the last change. Nothing locks. Of samples within one millisecond only longer ones count.
#[derive(Debug)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Counts a latency that was measured now.
    ///
    /// `now` is the time of a monotonic clock since any beginning, the same for all calls.
    pub fn record(&self, latency: Duration, now: Duration) {
        let sample = latency.as_secs_f32();
        let now = millis(now);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let updated = |word| {
            let state = State::unpack(word);
            if sample > state.rtt {
                return Some(
                    State {
                        rtt: sample,
                        at: now,
                    }
                    .pack(),
                );
            }
            let elapsed = state.elapsed(now);
            (elapsed > 0).then(|| {
                let kept = decay(elapsed);
                let rtt = state.rtt * kept + sample * (1.0 - kept);
                State { rtt, at: now }.pack()
            })
        };
        // `Err` is a sample that changes nothing.
        let _ = self.0.fetch_update(set, fetch, updated);
    }

    /// Counts a failure, with what its `retry-after` asks for.
    pub fn record_failure(&self, retry_after: Option<Duration>, now: Duration) {
        let penalty = retry_after.map_or(PENALTY, |after| after.clamp(PENALTY, LONGEST_PENALTY));
        self.record(penalty, now);
    }

    /// What one more call costs a host that is busy with `in_flight`: `rtt · (in_flight + 1)`, in
    /// seconds. Of two hosts the one with the lower cost is better.
    #[inline]
    #[must_use]
    pub fn cost(&self, in_flight: u32, now: Duration) -> f32 {
        let state = State::unpack(self.0.load(Ordering::Relaxed));
        let elapsed = state.elapsed(millis(now));
        let rtt = if elapsed == 0 {
            state.rtt
        } else {
            state.rtt * decay(elapsed)
        };
        rtt * (in_flight as f32 + 1.0)
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        let state = State {
            rtt: FIRST_RTT,
            at: 0,
        };
        Self(AtomicU64::new(state.pack()))
    }
}

#[derive(Clone, Copy)]
struct State {
    rtt: f32,
    /// Wraps after 49 days, after which a host that had no sample all the time looks recent.
    at: u32,
}

impl State {
    fn pack(self) -> u64 {
        u64::from(self.rtt.to_bits()) << 32 | u64::from(self.at)
    }

    fn unpack(word: u64) -> Self {
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            rtt: f32::from_bits(half(word >> 32)),
            at: half(word),
        }
    }

    /// Another thread may have stored a later time, which is none.
    fn elapsed(self, now: u32) -> u32 {
        let elapsed = now.wrapping_sub(self.at);
        if elapsed > u32::MAX / 2 { 0 } else { elapsed }
    }
}

fn millis(time: Duration) -> u32 {
    let millis = time.as_millis() & u128::from(u32::MAX);
    u32::try_from(millis).unwrap_or_default()
}

/// The part of an average that is kept after so many milliseconds.
fn decay(elapsed: u32) -> f32 {
    (elapsed as f32 / -DECAY_MILLIS).exp()
}

/// Linkerd's `DEFAULT_EWMA_DECAY`.
const DECAY_MILLIS: f32 = 10_000.0;
/// Linkerd's `DEFAULT_EWMA_RTT`.
const FIRST_RTT: f32 = 0.030;
const PENALTY: Duration = Duration::from_secs(5);
const LONGEST_PENALTY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn close(cost: f32, expected: f64) {
        assert!(
            (f64::from(cost) - expected).abs() < 1e-4,
            "{cost} {expected}"
        );
    }

    #[test]
    fn a_host_without_samples_starts_at_30_ms_and_calls_multiply() {
        let ewma = PeakEwma::default();
        close(ewma.cost(0, at(0.0)), 0.030);
        close(ewma.cost(9, at(0.0)), 0.300);
    }

    #[test]
    fn a_longer_sample_counts_at_once_and_a_shorter_one_by_the_time_that_passed() {
        let ewma = PeakEwma::default();
        ewma.record(at(0.2), at(1.0));
        close(ewma.cost(0, at(1.0)), 0.2);
        ewma.record(at(0.1), at(1.0));
        close(ewma.cost(0, at(1.0)), 0.2);
        ewma.record(at(0.1), at(6.0));
        let kept = (-0.5_f64).exp();
        close(ewma.cost(0, at(6.0)), 0.2 * kept + 0.1 * (1.0 - kept));
    }

    #[test]
    fn reading_lets_it_fall_toward_zero() {
        let ewma = PeakEwma::default();
        ewma.record(at(2.0), at(1.0));
        close(ewma.cost(0, at(11.0)), 2.0 * (-1.0_f64).exp());
        close(ewma.cost(0, at(1001.0)), 0.0);
        // A reader whose clock is behind sees what is stored.
        close(ewma.cost(0, at(0.5)), 2.0);
    }

    #[test]
    fn a_host_that_fails_fast_does_not_look_best() {
        let (good, bad) = (PeakEwma::default(), PeakEwma::default());
        good.record(at(0.08), at(1.0));
        bad.record(at(0.001), at(1.0));
        bad.record_failure(None, at(1.0));
        assert!(bad.cost(0, at(2.0)) > good.cost(9, at(2.0)));
        bad.record_failure(Some(at(1000.0)), at(1.0));
        close(bad.cost(0, at(1.0)), 300.0);
        let slow = PeakEwma::default();
        slow.record_failure(Some(at(0.1)), at(1.0));
        close(slow.cost(0, at(1.0)), 5.0);
    }
}
