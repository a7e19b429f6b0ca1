//! Clocks.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time of day, which can be set.
    fn now(&self) -> SystemTime;

    /// The time since some moment, which never steps.
    fn elapsed(&self) -> Duration;
}

/// The clocks of the system.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
