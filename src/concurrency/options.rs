//! What a concurrency limit is made from.

use std::time::Duration;

use crate::message::HEALTH_PATHS;

/// How many requests may be under way at once.
///
/// A request is under way until the body of its response has ended; an upgraded connection until it
/// is closed. Health checks pass without being counted, by their path:
/// [`HEALTH_PATHS`](Self::HEALTH_PATHS), unless [`exempt`](Self::exempt) names others.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    pub(super) kind: Kind,
    pub(super) exempt: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Fixed(u32),
    Adaptive(Adaptive),
}

impl ConcurrencyLimit {
    /// The paths of health checks: those that Kubernetes components use, and gRPC's.
    pub const HEALTH_PATHS: [&'static str; 5] = HEALTH_PATHS;

    /// At most so many requests; 0 counts as 1.
    #[must_use]
    pub fn fixed(requests: u32) -> Self {
        Self::of(Kind::Fixed(requests.max(1)))
    }

    /// A limit that follows the latency of the application.
    #[must_use]
    pub fn adaptive(options: Adaptive) -> Self {
        Self::of(Kind::Adaptive(options))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            exempt: Self::HEALTH_PATHS.map(Box::from).into(),
        }
    }

    /// Replaces the paths whose requests pass without being counted. A path is compared as a whole,
    /// without its query; an empty list exempts none.
    ///
    /// Anybody can ask for these paths, so they should cost the application little.
    #[must_use]
    pub fn exempt<'p>(mut self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        self.exempt = paths.into_iter().map(Box::from).collect();
        self
    }
}

/// How an adaptive [`ConcurrencyLimit`] follows the latency of the application.
///
/// It compares the latency of each window with the least latency, which it measures now and then
/// while half of the limit applies: while requests take longer, it lowers the limit, because they
/// wait for one another; otherwise it raises the limit, if so many requests come.
///
/// Only answers of the application are samples: the time from its call until the head of its
/// response, so that streams say as much as others. What guards answer is no sample, and neither is
/// the time for which they let a request wait. Errors, panics, and requests whose caller goes away
/// before the head are no samples. The time in which the application waits for the caller's body
/// counts.
///
/// Streams hold their places long after their samples. So that they cannot use up a limit that
/// would then learn nothing more, as many requests as the [least](Self::bounds) may always wait for
/// the head of their response, also beyond the limit; but no more than the most are under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    pub(super) initial: u32,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) buffer: f64,
    pub(super) window: Duration,
    pub(super) probe_interval: Duration,
}

impl Default for Adaptive {
    /// From 3 to 1000 requests, 20 at first; a buffer of 25 %; windows of 100 ms; a probe each
    /// minute.
    fn default() -> Self {
        Self {
            initial: 20,
            least: 3,
            most: 1_000,
            buffer: 0.25,
            window: Duration::from_millis(100),
            probe_interval: Duration::from_secs(60),
        }
    }
}

impl Adaptive {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limit that applies until the least latency is known. A number outside the
    /// [bounds](Self::bounds) counts as the nearest of them.
    #[must_use]
    pub fn initial(mut self, requests: u32) -> Self {
        self.initial = requests.max(1);
        self
    }

    /// Sets the bounds of the limit. The least is at least 1, and the most at least the least.
    #[must_use]
    pub fn bounds(mut self, least: u32, most: u32) -> Self {
        self.least = least.max(1);
        self.most = most.max(self.least);
        self
    }

    /// Sets how much longer than the least latency requests may take, as a share of it: from 0 to
    /// 10, where 0.25 means a quarter longer. A number outside counts as the nearest of these.
    #[must_use]
    pub fn buffer(mut self, share: f64) -> Self {
        self.buffer = match share.is_nan() {
            true => 0.0,
            false => share.clamp(0.0, 10.0),
        };
        self
    }

    /// Sets how often the limit may change. A window with fewer than ten samples goes on.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window.max(Duration::from_millis(1));
        self
    }

    /// Sets how often the least latency is measured.
    #[must_use]
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.probe_interval = interval.max(Duration::from_secs(1));
        self
    }
}
