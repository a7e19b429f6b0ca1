//! How an adaptive limit follows the latency of the application. Pure: the clock is an argument.

use super::latencies::Snapshot;
use super::options::Adaptive;

/// The state of an adaptive limit, with the rules of Envoy's gradient controller.
///
/// The limit is one number that each window of samples changes:
///
/// ```text
/// gradient = least latency * (1 + buffer) / latency of the window,    within 1/2 ..= 2
/// limit    = limit * gradient + sqrt(limit * gradient),               within least ..= most
/// ```
///
/// Both latencies are medians. The least latency is the application's latency without a queue. It is
/// measured at first, and again in each probe, while half of the limit applies.
#[derive(Debug)]
pub(super) struct Gradient {
    options: Adaptive,
    limit: f64,
    /// In nanoseconds; `None` until it was measured.
    least_latency: Option<u64>,
    phase: Phase,
    /// When the next probe begins, or the present one ends with what it has.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Probing,
    Adjusting,
}

impl Gradient {
    pub(super) fn new(options: Adaptive) -> Self {
        // The setters come in any order, so this is where all three are known.
        let initial = options.initial.clamp(options.least, options.most);
        Self {
            limit: f64::from(initial),
            least_latency: None,
            phase: Phase::Probing,
            next: LONGEST_PROBE,
            options,
        }
    }

    /// The limit that holds now.
    pub(super) fn limit(&self) -> u32 {
        // The first measurement is made with the initial limit.
        let applies = match (self.phase, self.least_latency) {
            (Phase::Probing, Some(_)) => self.limit / 2.0,
            (Phase::Probing, None) | (Phase::Adjusting, _) => self.limit,
        };
        whole(applies.max(f64::from(self.options.least)))
    }

    /// Takes in the samples since the window began, at `now` in nanoseconds since the limit was
    /// made. `peak` is the most requests that were under way at once. `false` if the samples are too
    /// few: the window goes on.
    pub(super) fn update(&mut self, samples: &Snapshot, peak: u32, now: u64) -> bool {
        match self.phase {
            Phase::Probing => self.probe(samples, now),
            Phase::Adjusting => self.adjust(samples, peak, now),
        }
    }

    fn probe(&mut self, samples: &Snapshot, now: u64) -> bool {
        let is_late = now >= self.next;
        if samples.count() < PROBE_SAMPLES && !is_late {
            return false;
        }
        match samples
            .median()
            .filter(|_| samples.count() >= FEWEST_SAMPLES)
        {
            Some(median) => self.least_latency = Some(median),
            // Too little happens to learn from.
            None if self.least_latency.is_none() => {
                self.next = now.saturating_add(LONGEST_PROBE);
                return false;
            }
            None => {}
        }
        self.phase = Phase::Adjusting;
        self.next = now.saturating_add(nanos(self.options.probe_interval));
        true
    }

    fn adjust(&mut self, samples: &Snapshot, peak: u32, now: u64) -> bool {
        if now >= self.next {
            self.phase = Phase::Probing;
            self.next = now.saturating_add(LONGEST_PROBE);
            return true;
        }
        let (Some(least), Some(median)) = (self.least_latency, samples.median()) else {
            return false;
        };
        if samples.count() < FEWEST_SAMPLES {
            return false;
        }
        let allowed = least as f64 * (1.0 + self.options.buffer);
        let gradient = (allowed / median.max(1) as f64).clamp(0.5, 2.0);
        let wanted = self.limit * gradient;
        let wanted = wanted + wanted.sqrt();
        // A limit that is not needed says nothing about what the application can do.
        let is_used = f64::from(peak) >= self.limit / 2.0;
        if wanted < self.limit || is_used {
            let bounds = (f64::from(self.options.least), f64::from(self.options.most));
            self.limit = wanted.clamp(bounds.0, bounds.1.max(bounds.0));
        }
        true
    }
}

fn whole(limit: f64) -> u32 {
    // Floats saturate here, and the limit is at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is within the bounds of an u32"
    )]
    let whole = limit as u32;
    whole.max(1)
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How many samples end a probe.
const PROBE_SAMPLES: u64 = 50;
/// A window with fewer goes on.
const FEWEST_SAMPLES: u64 = 10;
/// How long a probe may take; five seconds.
const LONGEST_PROBE: u64 = 5_000_000_000;

#[cfg(test)]
mod tests;
