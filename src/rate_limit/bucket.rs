//! Token buckets whose whole state is one number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::policy::limit::TokenBucket;

/// How many tokens a bucket holds, and how fast they come. It is worked out once, for all buckets
/// of a limit.
///
/// Time is counted in ticks of 1/16 ns from a start that is the same for all buckets of the
/// process. The time that one token takes is rounded up to a tick, so a bucket never gives more
/// than its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    max_tokens: u32,
    /// The ticks in which one token comes.
    per_token: u64,
    /// The ticks in which an empty bucket fills up.
    capacity: u64,
}

/// A point in time, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

/// A token bucket, as Envoy's `AtomicTokenBucketImpl`: it begins full, is refilled continuously and
/// never holds more than its most.
///
/// The state is the tick at which the bucket will be full; a bucket that is full holds a tick that
/// has passed, and zero at first. This is the generic cell rate algorithm, so nothing runs in the
/// background. It also makes clocks harmless: a reader with an older time sees fewer tokens.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

/// What a bucket holds after a request was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// The most that it holds.
    pub(crate) max_tokens: u32,
    /// The whole tokens that are left.
    pub(crate) left: u32,
    /// How long the next token takes; zero while there are some.
    pub(crate) next_token: Duration,
}

impl Rate {
    /// The rate of these buckets.
    ///
    /// An empty bucket is full after ten years at the latest: one that would take longer holds fewer
    /// tokens than written.
    pub(crate) fn new(bucket: &TokenBucket) -> Self {
        let interval = bucket.fill_interval.as_nanos();
        let interval = interval.saturating_mul(u128::from(TICKS_PER_NANO));
        let per_token = interval.div_ceil(u128::from(bucket.tokens_per_fill.max(1)));
        let per_token =
            u64::try_from(per_token).map_or(LONGEST_FILL, |ticks| ticks.clamp(1, LONGEST_FILL));
        let most = u32::try_from(LONGEST_FILL / per_token).unwrap_or(u32::MAX);
        let max_tokens = bucket.max_tokens.clamp(1, most);
        Self {
            max_tokens,
            per_token,
            capacity: per_token * u64::from(max_tokens),
        }
    }

    /// The whole tokens in a bucket that will be full at `full_at`.
    fn left(&self, full_at: u64, now: Tick) -> u32 {
        let missing = full_at.saturating_sub(now.0);
        let tokens = self.capacity.saturating_sub(missing) / self.per_token;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// What a bucket with this state holds.
    pub(crate) fn level(&self, full_at: u64, now: Tick) -> Level {
        let left = self.left(full_at, now);
        let missing = full_at.saturating_sub(now.0);
        // One token is there as soon as no more than all but one are missing.
        let wait = missing.saturating_sub(self.capacity - self.per_token);
        Level {
            max_tokens: self.max_tokens,
            left,
            next_token: Duration::from_nanos(wait.div_ceil(TICKS_PER_NANO)),
        }
    }

    /// The ticks in which one token comes.
    pub(crate) fn per_token(&self) -> u64 {
        self.per_token
    }
}

impl Tick {
    /// The time since the process's start.
    pub(crate) fn after(start: Duration) -> Self {
        let nanos = u64::try_from(start.as_nanos()).unwrap_or(u64::MAX);
        Self(nanos.saturating_mul(TICKS_PER_NANO))
    }
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(crate) fn take(&self, rate: &Rate, now: Tick) -> Taken {
        // INVARIANT: a bucket without a key is never claimed.
        take(&self.0, rate, now).unwrap_or(Taken {
            is_taken: false,
            full_at: CLAIMED,
        })
    }
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether there was a token, which is gone now.
    pub(crate) is_taken: bool,
    /// The bucket's state after that. See [`Rate::level`].
    pub(crate) full_at: u64,
}

/// Takes a token from the state of a bucket; `None` if the state is [`CLAIMED`].
pub(super) fn take(state: &AtomicU64, rate: &Rate, now: Tick) -> Option<Taken> {
    let mut full_at = state.load(Ordering::Acquire);
    loop {
        if full_at == CLAIMED {
            return None;
        }
        let missing = full_at.saturating_sub(now.0);
        if missing > rate.capacity - rate.per_token {
            return Some(Taken {
                is_taken: false,
                full_at,
            });
        }
        let next = full_at.max(now.0).saturating_add(rate.per_token);
        match state.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                return Some(Taken {
                    is_taken: true,
                    full_at: next,
                });
            }
            Err(changed) => full_at = changed,
        }
    }
}

/// Whether a bucket in this state is full.
pub(super) fn is_full(state: u64, now: Tick) -> bool {
    state <= now.0
}

/// The state of a bucket that gets another key just now. No clock reaches this tick.
pub(super) const CLAIMED: u64 = u64::MAX;

const TICKS_PER_NANO: u64 = 16;
/// Ten years. Twice that still leaves years until the ticks of a process run out.
const LONGEST_FILL: u64 = 10 * 365 * 86_400 * 1_000_000_000 * TICKS_PER_NANO;

#[cfg(test)]
mod tests;
