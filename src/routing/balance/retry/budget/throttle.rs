//! gRPC's budget: retry throttling, proposal A6.

use std::sync::atomic::{AtomicU32, Ordering};

/// Tokens of a server: a failure takes one, a success gives a part of one back. While no more than
/// half are there, nothing is retried.
#[derive(Debug)]
pub struct RetryThrottle {
    /// Thousandths, as the proposal counts.
    tokens: AtomicU32,
    most: u32,
    per_success: u32,
}

impl RetryThrottle {
    /// A full throttle: `maxTokens`, 1 to 1000, and `tokenRatio` in thousandths.
    #[must_use]
    pub fn new(max_tokens: u32, token_ratio_thousandths: u32) -> Self {
        let most = max_tokens.clamp(1, 1000) * TOKEN;
        Self {
            tokens: AtomicU32::new(most),
            most,
            per_success: token_ratio_thousandths,
        }
    }

    /// A call succeeded, or failed in a way that is not retried.
    pub fn record_success(&self) {
        let (order, per_success, most) = (Ordering::Relaxed, self.per_success, self.most);
        let more = |tokens: u32| {
            let next = tokens.saturating_add(per_success).min(most);
            (next != tokens).then_some(next)
        };
        // `Err`: it is full.
        let _ = self.tokens.fetch_update(order, order, more);
    }

    /// A try failed in a way that is retried, or the server pushed back. Returns whether a retry may
    /// follow.
    pub fn record_failure(&self) -> bool {
        let (order, mut left) = (Ordering::Relaxed, 0);
        let less = |tokens: u32| {
            left = tokens.saturating_sub(TOKEN);
            Some(left)
        };
        let _ = self.tokens.fetch_update(order, order, less);
        left > self.most / 2
    }
}

const TOKEN: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_retried_at_half_of_the_tokens_or_less() {
        let throttle = RetryThrottle::new(10, 100);
        let allowed: Vec<_> = (0..6).map(|_| throttle.record_failure()).collect();
        assert_eq!(allowed, [true, true, true, true, false, false]);
        // Four tokens are left: 20 successes make six, of which a failure takes one; ten more.
        (0..20).for_each(|_| throttle.record_success());
        assert!(!throttle.record_failure());
        (0..11).for_each(|_| throttle.record_success());
        assert!(throttle.record_failure());
    }

    #[test]
    fn tokens_have_their_bounds() {
        let throttle = RetryThrottle::new(0, 5000);
        assert_eq!(throttle.most, 1000);
        assert!(!throttle.record_failure());
        assert!(!throttle.record_failure());
        (0..9).for_each(|_| throttle.record_success());
        assert_eq!(throttle.tokens.load(Ordering::Relaxed), 1000);
        assert_eq!(RetryThrottle::new(5000, 1).most, 1_000_000);
    }
}
