//! Spreads times at random, so that many instances do not act at once.

use std::time::Duration;

/// A time, longer or shorter by a random share of up to `percent`, so that things that began
/// together do not go on together.
pub(super) fn jitter(time: Duration, percent: u32) -> Duration {
    let share = fastrand::f64() * 2.0 - 1.0;
    time.min(FOREVER)
        .mul_f64(1.0 + share * f64::from(percent) / 100.0)
}

/// About thirty years, as in tokio. Longer times are cut to this, so that no sum overflows.
pub(super) const FOREVER: Duration = Duration::from_secs(86400 * 365 * 30);
