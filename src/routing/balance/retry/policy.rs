//! Whether a call has another try.

use std::time::Duration;

use crate::routing::balance::outcome::{Pushback, TryOutcome};

use super::backoff::Backoff;
use super::condition::RetryOn;

/// The retries of a route: VirtualService `retries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many retries there are at most: one less than tries. 0: none.
    pub attempts: u32,
    /// What is retried.
    pub retry_on: RetryOn,
    /// How long a retry waits.
    pub backoff: Backoff,
}

/// Istio's, where neither the route nor the mesh says anything: two retries of what the server has
/// not processed.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 2,
            retry_on: RetryOn::default(),
            backoff: Backoff::default(),
        }
    }
}

/// The retries that one call has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryState {
    retries: u32,
}

/// What comes after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryDecision {
    /// Another try, after this time.
    Retry(Duration),
    /// This outcome is the call's.
    Done,
    /// So it is, since no retry is left: flag `URX`, with the flag of its cause.
    Exhausted,
    /// So it is, since too many retries are under way: flag `UO`. No retry was started.
    Overflow,
}

impl RetryState {
    /// What comes after a try that ended like this.
    ///
    /// `is_within_budget` is asked only where another try would follow, and then a retry that it
    /// allows has begun: it may take a place in a [circuit breaker](crate::routing::balance::CircuitBreaker)
    /// or a token of a budget.
    ///
    /// A server's [`Pushback`] replaces the back-off; a call that has less time `left` than that is
    /// not retried.
    pub fn next(
        &mut self,
        policy: &RetryPolicy,
        outcome: TryOutcome,
        left: Option<Duration>,
        is_within_budget: impl FnOnce() -> bool,
        random: u64,
    ) -> RetryDecision {
        if policy.attempts == 0 || !policy.retry_on.matches(outcome) {
            return RetryDecision::Done;
        }
        if self.retries >= policy.attempts {
            return RetryDecision::Exhausted;
        }
        let pushback = match outcome {
            TryOutcome::Head(head) => head.pushback,
            _ => None,
        };
        let asked = match pushback {
            Some(Pushback::Stop) => return RetryDecision::Done,
            Some(Pushback::After(after)) if left.is_some_and(|left| left <= after) => {
                return RetryDecision::Done;
            }
            Some(Pushback::After(after)) => Some(after),
            None => None,
        };
        self.retries += 1;
        if !is_within_budget() {
            return RetryDecision::Overflow;
        }
        let backoff = || policy.backoff.delay(self.retries, random);
        RetryDecision::Retry(asked.unwrap_or_else(backoff))
    }

    /// How many retries there were: `x-envoy-attempt-count` of the next try is one more.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::balance::{CircuitBreaker, Head, Thresholds};

    fn head(status: u16) -> TryOutcome {
        TryOutcome::Head(Head::new(status))
    }

    /// How many tries a call has whose tries all end like this, and what the last decision was.
    fn tries(policy: &RetryPolicy, outcome: TryOutcome) -> (u32, RetryDecision) {
        let mut state = RetryState::default();
        for tries in 1.. {
            match state.next(policy, outcome, None, || true, 7) {
                RetryDecision::Retry(_) => assert_eq!(state.retries(), tries),
                other => return (tries, other),
            }
        }
        unreachable!()
    }

    fn policy(attempts: u32, retry_on: &str) -> RetryPolicy {
        RetryPolicy {
            attempts,
            retry_on: retry_on.parse().unwrap(),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn calls_have_their_tries_and_urx_only_where_they_are_used_up() {
        use RetryDecision::{Done, Exhausted};
        let default = RetryPolicy::default();
        let read_and_closed = TryOutcome::Reset {
            is_request_started: true,
        };
        assert_eq!(tries(&default, head(503)), (1, Done));
        assert_eq!(tries(&default, TryOutcome::ConnectFailure), (3, Exhausted));
        assert_eq!(
            tries(&default, TryOutcome::Head(Head::grpc(14))),
            (3, Exhausted)
        );
        assert_eq!(tries(&default, read_and_closed), (1, Done));
        let three = policy(3, "");
        assert_eq!(tries(&three, TryOutcome::PerTryTimeout), (1, Done));
        assert_eq!(tries(&policy(3, "503"), head(503)), (4, Exhausted));
        // The overall timeout ends a call of any policy.
        assert_eq!(
            tries(&policy(9, "5xx,reset"), TryOutcome::Timeout),
            (1, Done)
        );
        assert_eq!(tries(&policy(0, "5xx"), head(503)), (1, Done));
    }

    #[test]
    fn waits_grow_with_retries() {
        let policy = policy(3, "5xx");
        let mut state = RetryState::default();
        for millis in [25, 50, 100] {
            let half = u64::MAX / 2 + 1;
            let decision = state.next(&policy, head(503), None, || true, half);
            let expected = RetryDecision::Retry(Duration::from_micros(millis * 500));
            assert_eq!(decision, expected);
        }
    }

    #[test]
    fn the_budget_is_asked_only_for_retries() {
        let policy = policy(1, "5xx");
        let mut state = RetryState::default();
        let never = || panic!("asked");
        assert_eq!(
            state.next(&policy, head(200), None, never, 0),
            RetryDecision::Done
        );
        assert_eq!(
            state.next(&policy, head(503), None, || false, 0),
            RetryDecision::Overflow
        );
        assert_eq!(
            state.next(&policy, head(503), None, never, 0),
            RetryDecision::Exhausted
        );
    }

    #[test]
    fn a_server_that_pushes_back_is_heard() {
        let policy = policy(3, "5xx");
        let pushed = |pushback| {
            TryOutcome::Head(Head {
                pushback: Some(pushback),
                ..Head::new(503)
            })
        };
        let second = Duration::from_secs(1);
        let next = |pushback, left| {
            let mut state = RetryState::default();
            state.next(&policy, pushed(pushback), left, || true, 7)
        };
        let after = Pushback::After(second);
        assert_eq!(next(Pushback::Stop, None), RetryDecision::Done);
        assert_eq!(next(after, None), RetryDecision::Retry(second));
        assert_eq!(next(after, Some(2 * second)), RetryDecision::Retry(second));
        assert_eq!(next(after, Some(second)), RetryDecision::Done);
    }

    /// Three failing calls at once, and a place for one retry.
    #[test]
    fn of_three_calls_one_is_retried_and_two_overflow() {
        let breaker = CircuitBreaker::new(Thresholds {
            retries: 1,
            ..Thresholds::default()
        });
        let policy = policy(1, "5xx");
        let mut places = Vec::new();
        let decisions = [(); 3].map(|()| {
            let mut state = RetryState::default();
            let is_allowed = || breaker.retry().map(|place| places.push(place)).is_ok();
            state.next(&policy, head(503), None, is_allowed, 0)
        });
        let retry = RetryDecision::Retry(Duration::ZERO);
        let overflow = RetryDecision::Overflow;
        assert_eq!(decisions, [retry, overflow, overflow]);
    }
}
