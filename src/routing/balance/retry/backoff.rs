//! How long a retry waits.

use std::time::Duration;

/// Exponential back-off with full jitter, as Envoy's `JitteredExponentialBackOffStrategy`.
///
/// Before the N-th retry, counted from 1, a call waits for a time drawn evenly from
/// `[0, min(B · 2^(N−1), 10 · B))`, where `B` is `retries.backoff`. The first retry waits, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
}

impl Backoff {
    /// Back-off with this base.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self { base }
    }

    /// How long the n-th retry waits, by a random number.
    #[must_use]
    pub fn delay(self, retry: u32, random: u64) -> Duration {
        let factor = 1_u32
            .checked_shl(retry.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(factor.clamp(1, MOST_BASES));
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let delay = (u128::from(longest) * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(delay).unwrap_or(longest))
    }
}

/// Envoy's base of 25 ms.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(25))
    }
}

/// The longest wait has so many bases, as Istio leaves it.
const MOST_BASES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_times_the_base() {
        let backoff = Backoff::new(Duration::from_millis(200));
        for (retry, longest) in [
            (1, 200),
            (2, 400),
            (3, 800),
            (4, 1600),
            (5, 2000),
            (6, 2000),
            (33, 2000),
            (u32::MAX, 2000),
        ] {
            let longest = Duration::from_millis(longest);
            let most = backoff.delay(retry, u64::MAX);
            assert!(
                most < longest && longest - most < Duration::from_micros(1),
                "{retry} {most:?}"
            );
            assert_eq!(backoff.delay(retry, 0), Duration::ZERO);
            let half = backoff.delay(retry, u64::MAX / 2 + 1);
            assert_eq!(half, longest / 2);
        }
        assert_eq!(
            backoff.delay(0, u64::MAX / 2 + 1),
            Duration::from_millis(100)
        );
        assert_eq!(
            Backoff::default().delay(1, u64::MAX / 2 + 1),
            Duration::from_micros(12_500)
        );
        assert!(Backoff::new(Duration::MAX).delay(9, u64::MAX) > Duration::from_secs(1));
    }
}
