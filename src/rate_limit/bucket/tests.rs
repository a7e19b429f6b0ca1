use std::time::Duration;

use proptest::prelude::*;

use super::{Bucket, Rate, Tick};
use crate::policy::limit::TokenBucket;

fn bucket_of(max_tokens: u32, tokens_per_fill: u32, interval: Duration) -> Rate {
    Rate::new(&TokenBucket::new(tokens_per_fill, interval).burst(max_tokens))
}

fn at(millis: u64) -> Tick {
    Tick::after(Duration::from_millis(millis))
}

/// How many of ten requests pass at this time.
fn passed(bucket: &Bucket, rate: &Rate, millis: u64) -> usize {
    (0..10)
        .filter(|_| bucket.take(rate, at(millis)).is_taken)
        .count()
}

/// Envoy's numbers: two tokens per two seconds are two after two seconds, and one after 1.1 s.
#[test]
fn tokens_come_one_by_one() {
    let rate = bucket_of(2, 2, Duration::from_secs(2));
    let bucket = Bucket::default();
    for (millis, expected) in [
        (5_000, 2),
        (5_100, 0),
        (5_999, 0),
        (6_000, 1),
        (6_100, 0),
        (7_100, 1),
        (8_900, 1),
        (11_000, 2),
        (11_000, 0),
        (99_000, 2),
    ] {
        assert_eq!(passed(&bucket, &rate, millis), expected, "{millis} ms");
    }
}

#[test]
fn the_burst_and_the_rate_are_independent() {
    let rate = bucket_of(5, 1, Duration::from_millis(50));
    let bucket = Bucket::default();
    for (millis, expected) in [(0, 5), (49, 0), (50, 1), (160, 2), (10_000, 5)] {
        assert_eq!(passed(&bucket, &rate, millis), expected, "{millis} ms");
    }
}

#[test]
fn the_level_tells_what_is_left_and_when_there_is_more() {
    let rate = bucket_of(3, 3, Duration::from_secs(3));
    let bucket = Bucket::default();
    let take = |millis| {
        let taken = bucket.take(&rate, at(millis));
        let level = rate.level(taken.full_at, at(millis));
        (taken.is_taken, level.left, level.next_token.as_millis())
    };
    assert_eq!(take(0), (true, 2, 0));
    assert_eq!(take(0), (true, 1, 0));
    assert_eq!(take(0), (true, 0, 1_000));
    assert_eq!(take(400), (false, 0, 600));
    assert_eq!(take(1_500), (true, 0, 500));
    assert_eq!(take(9_000), (true, 2, 0));
}

/// A time that goes backwards gives no tokens, and takes none away.
#[test]
fn an_older_time_is_harmless() {
    let rate = bucket_of(2, 1, Duration::from_secs(1));
    let bucket = Bucket::default();
    assert_eq!(passed(&bucket, &rate, 50_000), 2);
    for millis in [49_000, 10, 50_000, 49_999] {
        assert_eq!(passed(&bucket, &rate, millis), 0, "{millis} ms");
    }
    assert_eq!(passed(&bucket, &rate, 51_000), 1);
}

/// Numbers at the edges neither panic nor open the bucket.
#[test]
fn extreme_rates_stay_limits() {
    let day = Duration::from_secs(86_400);
    for rate in [
        bucket_of(u32::MAX, 1, day * 365),
        bucket_of(1, 1, Duration::MAX),
        bucket_of(3, u32::MAX, Duration::from_millis(50)),
    ] {
        let bucket = Bucket::default();
        let now = at(1_000);
        let all = (0..20).filter(|_| bucket.take(&rate, now).is_taken).count();
        assert_eq!(all, rate.max_tokens.min(20) as usize, "{rate:?}");
        let late = Tick::after(Duration::MAX);
        assert!(rate.level(bucket.take(&rate, late).full_at, late).left <= rate.max_tokens);
    }
}

/// The same bucket, counted as one would on paper: the tokens are a fraction of whole numbers.
struct Plain {
    max: u128,
    per_fill: u128,
    interval: u128,
    /// In units of `1 / interval` tokens.
    tokens: u128,
    last: u128,
}

impl Plain {
    fn take(&mut self, nanos: u128) -> bool {
        let come = nanos.saturating_sub(self.last) * self.per_fill;
        self.tokens = (self.tokens + come).min(self.max * self.interval);
        self.last = self.last.max(nanos);
        let is_there = self.tokens >= self.interval;
        if is_there {
            self.tokens -= self.interval;
        }
        is_there
    }
}

proptest! {
    /// Never more than the burst and what the rate gives in the time between, in any window.
    #[test]
    fn no_schedule_gets_more_than_the_rate(
        max in 1_u32..50,
        per_fill in 1_u32..50,
        interval in 50_u64..5_000,
        steps in prop::collection::vec(0_u64..2_000_000_000, 1..200),
    ) {
        let rate = bucket_of(max, per_fill, Duration::from_millis(interval));
        let bucket = Bucket::default();
        let mut plain = Plain {
            max: max.into(),
            per_fill: per_fill.into(),
            interval: u128::from(interval) * 1_000_000,
            tokens: u128::from(max) * u128::from(interval) * 1_000_000,
            last: 0,
        };
        let mut now = 0;
        let (mut granted, mut by_paper) = (0_u64, 0_u64);
        for step in steps {
            // Bursts, too.
            now += if step % 3 == 0 { 0 } else { step / 8 };
            granted += u64::from(bucket.take(&rate, Tick::after(Duration::from_nanos(now))).is_taken);
            by_paper += u64::from(plain.take(now.into()));
            let come = u128::from(now) * u128::from(per_fill) / (u128::from(interval) * 1_000_000);
            prop_assert!(u128::from(granted) <= u128::from(max) + come);
            // A token that is due at this very nanosecond may come a tick late.
            prop_assert!(granted.abs_diff(by_paper) <= 1, "{granted} {by_paper}");
        }
    }
}

/// Threads that take at once share the tokens exactly.
#[test]
fn threads_share_the_tokens() {
    let rate = bucket_of(1_000, 1, Duration::from_secs(3_600));
    let bucket = Bucket::default();
    let taken: usize = std::thread::scope(|scope| {
        let take = || {
            (0..2_000)
                .filter(|_| bucket.take(&rate, at(5)).is_taken)
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(taken, 1_000);
}
