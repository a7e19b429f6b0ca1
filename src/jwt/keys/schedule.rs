//! Decides when keys are fetched next. It reads no clock and does no I/O.

use std::time::{Duration, Instant, SystemTime};

use tokio::time;

/// The time between two fetches when the issuer gives none (istiod's interval; rule J-42).
const REFRESH: Duration = Duration::from_secs(20 * 60);
/// The shortest and longest time that an issuer may ask for.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// The time between two fetches of a trust domain's bundle when it gives none, and the shortest
/// that it may ask for (SPIFFE Trust Domain and Bundle §4.1.3; rule J-53).
const REFRESH_OF_BUNDLE: Duration = Duration::from_secs(5 * 60);
const SHORTEST_OF_BUNDLE: Duration = Duration::from_secs(30);
/// The shortest time that our own side may ask for.
const MOST_OFTEN: Duration = Duration::from_secs(1);
/// The first and the longest wait after a failure (rule J-41).
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);
/// How often a wait reads the clocks, and how far they may drift apart meanwhile.
const GLANCE: Duration = Duration::from_secs(10);
const APART: Duration = Duration::from_secs(60);

/// Decides when to fetch next: no clock, no I/O. It is random enough that many instances do not
/// fetch in step.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    failures: u32,
    /// The longest wait after a good fetch, whatever the issuer asks for.
    longest: Duration,
    /// The wait where the issuer asks for none.
    usual: Duration,
    random: fastrand::Rng,
}

impl Schedule {
    pub(crate) fn new() -> Self {
        Self::with_random(fastrand::Rng::new())
    }

    fn with_random(random: fastrand::Rng) -> Self {
        Self {
            failures: 0,
            longest: LONGEST,
            usual: REFRESH,
            random,
        }
    }

    /// Fetches at least this often: the issuer may ask for less time between fetches, not for more.
    pub(crate) fn at_least_every(mut self, interval: Duration) -> Self {
        self.usual = interval.clamp(MOST_OFTEN, LONGEST);
        self.longest = self.usual;
        self
    }

    /// The wait after a good fetch whose reply may be kept for `max_age`: ±10 %.
    pub(crate) fn after_success(&mut self, max_age: Option<Duration>) -> Duration {
        self.failures = 0;
        let shortest = SHORTEST.min(self.longest);
        let wait = max_age.unwrap_or(self.usual).clamp(shortest, self.longest);
        self.jittered(wait, 0.1).clamp(shortest, self.longest)
    }

    /// The wait after a good fetch of a bundle that asks to be looked at again after `hint`: ±10 %.
    pub(crate) fn after_bundle(&mut self, hint: Option<Duration>) -> Duration {
        self.failures = 0;
        let shortest = SHORTEST_OF_BUNDLE.min(self.longest);
        let wait = hint.unwrap_or(REFRESH_OF_BUNDLE);
        let wait = wait.clamp(shortest, self.longest);
        self.jittered(wait, 0.1).clamp(shortest, self.longest)
    }

    /// The wait after a failed fetch: twice the one before, ±20 %.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let wait = FIRST_RETRY
            .saturating_mul(1 << self.failures.min(16))
            .min(LAST_RETRY)
            .min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.jittered(wait, 0.2)
    }

    fn jittered(&mut self, wait: Duration, share: f64) -> Duration {
        wait.mul_f64(1.0 - share + 2.0 * share * self.random.f64())
    }
}

/// The wall clock and the steady one, read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    pub(crate) fn read() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Whether the machine slept or its clock was set between two readings: the steady clock shows
    /// neither.
    fn jumped_before(self, later: Self) -> bool {
        let steady = later.steady.saturating_duration_since(self.steady);
        match later.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(steady) > APART,
            Err(back) => back.duration().saturating_add(steady) > APART,
        }
    }
}

/// Waits this long, or until the clocks have jumped.
pub(crate) async fn rest(wait: Duration, mut clocks: impl FnMut() -> Clocks) {
    let end = time::Instant::now() + wait;
    let start = clocks();
    while time::Instant::now() < end {
        time::sleep_until(end.min(time::Instant::now() + GLANCE)).await;
        if start.jumped_before(clocks()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// forwards and backwards, far or a little too far; not by what clocks are corrected by.
    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_early_when_the_clock_jumps() {
        const DAY: i64 = 24 * 3600;
        let start = Clocks::read();
        let wait = Duration::from_secs(1_200);
        for (jump, early) in [
            (DAY, true),
            (-DAY, true),
            (70, true),
            (-70, true),
            (50, false),
            (-50, false),
            (0, false),
        ] {
            let began = time::Instant::now();
            let clocks = || {
                // The machine's time is the test's; the jump comes after five minutes.
                let passed = time::Instant::now() - began;
                let jump = if passed.as_secs() > 300 { jump } else { 0 };
                let wall = start.wall + passed;
                let size = Duration::from_secs(jump.unsigned_abs());
                Clocks {
                    wall: if jump < 0 { wall - size } else { wall + size },
                    steady: start.steady + passed,
                }
            };
            rest(wait, clocks).await;
            let waited = (time::Instant::now() - began).as_secs();
            let expected = if early { 301..=311 } else { 1_200..=1_201 };
            assert!(expected.contains(&waited), "{jump}: {waited}");
        }
    }

    /// J-42
    #[test]
    fn good_keys_are_refreshed_every_twenty_minutes_or_as_the_issuer_says() {
        let mut schedule = Schedule::with_random(fastrand::Rng::with_seed(7));
        let mut waits: Vec<_> = (0..1_000).map(|_| schedule.after_success(None)).collect();
        waits.sort();
        assert!(waits[0] >= Duration::from_secs(18 * 60));
        assert!(waits[999] <= Duration::from_secs(22 * 60));
        assert!(
            waits[999] - waits[0] > Duration::from_secs(3 * 60),
            "spread"
        );
        for (max_age, least, most) in [(0, 60, 66), (600, 540, 660), (86_400, 3_240, 3_600)] {
            let wait = schedule.after_success(Some(Duration::from_secs(max_age)));
            assert!(
                (least..=most).contains(&wait.as_secs()),
                "{max_age}: {wait:?}"
            );
        }
    }

    /// J-53
    #[test]
    fn bundles_are_refreshed_every_five_minutes_or_as_they_hint() {
        let mut schedule = Schedule::with_random(fastrand::Rng::with_seed(7));
        for (hint, least, most) in [
            (None, 270, 330),
            (Some(0), 30, 33),
            (Some(29), 30, 33),
            (Some(60), 54, 66),
            (Some(86_400), 3_240, 3_600),
        ] {
            for _ in 0..100 {
                let wait = schedule.after_bundle(hint.map(Duration::from_secs));
                let wait = wait.as_secs_f64();
                assert!(
                    (f64::from(least)..=f64::from(most)).contains(&wait),
                    "{hint:?}: {wait}"
                );
            }
        }
    }

    /// J-42, J-53: so may our own side, also of bundles and after failures.
    #[test]
    fn bundles_are_refreshed_as_often_as_the_option_says() {
        let mut schedule = Schedule::new().at_least_every(Duration::from_secs(60));
        for hint in [None, Some(86_400), Some(60)] {
            let wait = schedule.after_bundle(hint.map(Duration::from_secs));
            assert!((54..=60).contains(&wait.as_secs()), "{hint:?}: {wait:?}");
        }
        let longest = (0..20).map(|_| schedule.after_failure()).max();
        assert!(longest.unwrap() <= Duration::from_secs(72), "{longest:?}");
    }

    /// J-42: our own side may ask for fetches more often, down to a second; then an issuer cannot ask for fewer.
    #[test]
    fn keys_are_refreshed_as_often_as_the_option_says() {
        let seconds = Duration::from_secs;
        for (interval, max_age, least, most) in [
            (seconds(300), None, 270, 300),
            (seconds(300), Some(seconds(86_400)), 270, 300),
            (seconds(300), Some(seconds(0)), 60, 66),
            (seconds(10), None, 9, 10),
            (seconds(10), Some(seconds(0)), 9, 10),
            (seconds(0), None, 1, 1),
            (seconds(86_400), None, 3_240, 3_600),
        ] {
            let random = fastrand::Rng::with_seed(7);
            let mut schedule = Schedule::with_random(random).at_least_every(interval);
            for _ in 0..100 {
                let wait = schedule.after_success(max_age).as_secs_f64();
                let expected = f64::from(least)..=f64::from(most);
                assert!(expected.contains(&wait), "{interval:?} {max_age:?}: {wait}");
            }
        }
    }

    /// J-41
    #[test]
    fn failures_are_retried_ever_later_up_to_five_minutes() {
        let mut schedule = Schedule::with_random(fastrand::Rng::with_seed(7));
        for failure in 0..40 {
            let expected = f64::from(1_u32 << failure.min(9)).min(300.0);
            let wait = schedule.after_failure().as_secs_f64();
            assert!(
                (expected * 0.8..=expected * 1.2).contains(&wait),
                "{failure}: {wait}"
            );
        }
        schedule.after_success(None);
        assert!(
            schedule.after_failure() < Duration::from_secs(2),
            "from the start again"
        );
    }
}
