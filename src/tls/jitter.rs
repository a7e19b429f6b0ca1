use std::time::Duration;

/// This time, at random up to so many percent more or less: what began together shall not go on together.
pub(super) fn jitter(time: Duration, percent: u32) -> Duration {
    let share = fastrand::f64() * 2.0 - 1.0;
    time.min(FOREVER)
        .mul_f64(1.0 + share * f64::from(percent) / 100.0)
}

/// As tokio means it: some thirty years. What is longer is as long, for no sum with it overflows.
pub(super) const FOREVER: Duration = Duration::from_secs(86400 * 365 * 30);
