//! Envoy's budget: of the calls under way.

/// How many retries may be under way: `trafficPolicy.retryBudget`, which replaces
/// `connectionPool.http.maxRetries`.
///
/// A retry is allowed while fewer than `max(min_retry_concurrency, percent · (active + pending))`
/// are under way. It counts from its decision until its own answer, back-off included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of a million.
    part: u32,
    min_retry_concurrency: u32,
}

impl RetryBudget {
    /// A budget of so many percent, of which steps of 0.0001 count; more than 100 is 100, and what
    /// is no number or less than zero is zero.
    #[must_use]
    pub fn new(percent: f64, min_retry_concurrency: u32) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "truncated as Envoy does, and clamped before; a cast of NaN is 0"
        )]
        let part = (percent.clamp(0.0, 100.0) * 10_000.0) as u32;
        Self {
            part,
            min_retry_concurrency,
        }
    }

    /// The most retries while so many calls wait for an answer and so many for a connection.
    #[must_use]
    pub fn most(&self, active: u32, pending: u32) -> u32 {
        let calls = u64::from(active) + u64::from(pending);
        let part = calls * u64::from(self.part) / 1_000_000;
        u32::try_from(part)
            .unwrap_or(u32::MAX)
            .max(self.min_retry_concurrency)
    }

    /// Whether another retry may begin.
    #[must_use]
    pub fn allows(&self, retries: u32, active: u32, pending: u32) -> bool {
        retries < self.most(active, pending)
    }
}

/// 20 % and 3: Istio's and Envoy's.
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(20.0, 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_calls_and_three_at_least() {
        let budget = RetryBudget::default();
        for (active, pending, most) in [
            (0, 0, 3),
            (10, 5, 3),
            (20, 0, 4),
            (90, 14, 20),
            (u32::MAX, u32::MAX, 1_717_986_918),
        ] {
            assert_eq!(budget.most(active, pending), most, "{active} {pending}");
        }
        assert!(budget.allows(2, 1, 0));
        assert!(!budget.allows(3, 1, 0));
    }

    #[test]
    fn percents_have_four_places_and_bounds() {
        assert_eq!(RetryBudget::new(0.0001, 0).most(1_000_000, 0), 1);
        assert_eq!(RetryBudget::new(0.00009, 0).most(1_000_000, 0), 0);
        assert_eq!(RetryBudget::new(250.0, 0).most(10, 0), 10);
        assert_eq!(RetryBudget::new(-1.0, 0).most(10, 0), 0);
        assert_eq!(RetryBudget::new(f64::NAN, 1).most(10, 0), 1);
    }
}
