//! The state machine: a try in, an ejection out; time in, a return out.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::routing::balance::outcome::TryOutcome;

use super::settings::OutlierDetection;
use super::verdict::Verdict;

/// Counts the ejections of a cluster and decides about them: all priorities together.
///
/// As Envoy's `DetectorImpl`, without success rates, which Istio switches off:
///
/// ```text
/// Healthy --nth error in a row--> is (ejected + 1) / hosts within the percentage?
///     yes: Ejected, k += 1          no: stays, and the counter begins at 0
/// Ejected --first sweep after min(base · k, max(300 s, base))--> Healthy, all counters 0
/// Healthy for a whole interval: at the sweep, k −= 1
/// ```
///
/// Every try is judged, not only a call's last one, by its head alone. Nothing locks: a try is
/// counted in atomics of its host. What an ejection does is up to the caller: it sets
/// [`Host::set_ejected`](crate::routing::balance::Host::set_ejected) and builds a new
/// [`HostSet`](crate::routing::balance::HostSet). Calls in flight go on.
///
/// # Differences from Envoy
///
/// - gRPC UNIMPLEMENTED is no error of the server.
/// - With split errors, only a response head sets the counter of local failures to 0, not a
///   connection: a host that accepts connections and never answers is ejected.
#[derive(Debug, Default)]
pub struct OutlierDetector {
    settings: OutlierDetection,
    hosts: AtomicUsize,
    ejected: AtomicUsize,
}

/// What is counted of one host. It lives as long as the host.
#[derive(Debug, Default)]
pub struct HostErrors {
    consecutive_5xx: AtomicU32,
    consecutive_gateway: AtomicU32,
    consecutive_local_origin: AtomicU32,
    /// When it was ejected, and 1; 0: it is not.
    ejected_at: AtomicU64,
    /// When it came back last, and 1; 0: it was never ejected.
    returned_at: AtomicU64,
    /// How many ejections in a row make the next one longer.
    ejections: AtomicU32,
}

/// Why a host is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ejection {
    /// Too many 5xx in a row.
    Consecutive5xx,
    /// Too many 502, 503 and 504 in a row.
    ConsecutiveGatewayErrors,
    /// Too many failures without an answer in a row.
    ConsecutiveLocalOriginFailures,
}

/// What a sweep did to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    /// Nothing.
    Unchanged,
    /// It was ejected, and is not any more.
    Returned,
}

impl OutlierDetector {
    /// A detector of a cluster with so many hosts.
    #[must_use]
    pub fn new(settings: OutlierDetection, hosts: usize) -> Self {
        Self {
            settings,
            hosts: AtomicUsize::new(hosts),
            ejected: AtomicUsize::new(0),
        }
    }

    /// The cluster has so many hosts now.
    pub fn set_hosts(&self, hosts: usize) {
        self.hosts.store(hosts, Ordering::Relaxed);
    }

    /// A host is gone. It must not be recorded or swept again.
    pub fn forget(&self, host: &HostErrors) {
        if host.ejected_at.swap(0, Ordering::AcqRel) != 0 {
            self.ejected.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// How many hosts are ejected.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.ejected.load(Ordering::Relaxed)
    }

    /// A try of this host ended now. Returns why the host is ejected, if it is ejected by this.
    ///
    /// `now` is the time of a monotonic clock since any beginning, the same for all calls.
    pub fn record(
        &self,
        host: &HostErrors,
        outcome: TryOutcome,
        now: Duration,
    ) -> Option<Ejection> {
        let settings = &self.settings;
        let verdict = match Verdict::of(outcome) {
            Verdict::LocalOrigin { .. } if settings.splits_local_origin_errors => {
                let limit = settings.consecutive_local_origin_failures;
                let counter = &host.consecutive_local_origin;
                let cause = Ejection::ConsecutiveLocalOriginFailures;
                return self.count(host, counter, limit, cause, now);
            }
            Verdict::LocalOrigin { status } => Verdict::of_status(status),
            other => other,
        };
        match verdict {
            Verdict::ServerError { is_gateway_error } => {
                reset(&host.consecutive_local_origin);
                let mut by_gateway_errors = None;
                if is_gateway_error {
                    let limit = settings.consecutive_gateway_errors;
                    let cause = Ejection::ConsecutiveGatewayErrors;
                    let counter = &host.consecutive_gateway;
                    by_gateway_errors = self.count(host, counter, limit, cause, now);
                } else {
                    reset(&host.consecutive_gateway);
                }
                // It counts as both.
                let limit = settings.consecutive_5xx_errors;
                let cause = Ejection::Consecutive5xx;
                let by_5xx = self.count(host, &host.consecutive_5xx, limit, cause, now);
                by_gateway_errors.or(by_5xx)
            }
            Verdict::Success => {
                host.reset();
                None
            }
            Verdict::LocalOrigin { .. } | Verdict::Nothing => None,
        }
    }

    /// Looks at a host: once in an interval, for each host.
    ///
    /// So a host returns up to an interval late. Let the first sweep of a process come after a random
    /// part of an interval, so that not all processes take a host back at once.
    pub fn sweep(&self, host: &HostErrors, now: Duration) -> Sweep {
        let ejected_at = host.ejected_at.load(Ordering::Acquire);
        if ejected_at == 0 {
            let returned_at = host.returned_at.load(Ordering::Relaxed);
            let is_well = returned_at != 0 && since(returned_at, now) >= self.settings.interval;
            if is_well {
                let (order, less) = (Ordering::Relaxed, |k: u32| k.checked_sub(1));
                // `Err`: it is 0 already.
                let _ = host.ejections.fetch_update(order, order, less);
            }
            return Sweep::Unchanged;
        }
        let k = host.ejections.load(Ordering::Relaxed);
        if since(ejected_at, now) < self.settings.ejection_time(k) {
            return Sweep::Unchanged;
        }
        host.reset();
        host.returned_at.store(stamp(now), Ordering::Relaxed);
        if host.ejected_at.swap(0, Ordering::AcqRel) != 0 {
            self.ejected.fetch_sub(1, Ordering::AcqRel);
        }
        Sweep::Returned
    }

    fn count(
        &self,
        host: &HostErrors,
        counter: &AtomicU32,
        limit: u32,
        cause: Ejection,
        now: Duration,
    ) -> Option<Ejection> {
        let errors = counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // INVARIANT: of several threads one sees the limit, so one ejects.
        if errors != limit || host.is_ejected() {
            return None;
        }
        let is_ejected = self.eject(host, now);
        reset(counter);
        is_ejected.then_some(cause)
    }

    fn eject(&self, host: &HostErrors, now: Duration) -> bool {
        let hosts = self.hosts.load(Ordering::Relaxed);
        let most = usize::try_from(self.settings.max_ejection_percent.min(100)).unwrap_or(100);
        let one_more = |ejected: usize| {
            let is_within = (ejected + 1).saturating_mul(100) <= hosts.saturating_mul(most);
            is_within.then_some(ejected + 1)
        };
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        if self.ejected.fetch_update(set, fetch, one_more).is_err() {
            return false;
        }
        let k = host.ejections.load(Ordering::Relaxed);
        let next = k.saturating_add(u32::from(self.settings.grows_after(k)));
        host.ejections.store(next, Ordering::Relaxed);
        let before = host.ejected_at.compare_exchange(0, stamp(now), set, fetch);
        if before.is_err() {
            // Another of its counters has reached its limit at the same time.
            self.ejected.fetch_sub(1, Ordering::AcqRel);
        }
        before.is_ok()
    }
}

impl HostErrors {
    /// Whether it is ejected.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected_at.load(Ordering::Acquire) != 0
    }

    /// A success ends all rows. Most find them at 0, and then nothing is written.
    fn reset(&self) {
        reset(&self.consecutive_5xx);
        reset(&self.consecutive_gateway);
        reset(&self.consecutive_local_origin);
    }
}

fn reset(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

/// A time of which 0 is none.
fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

fn since(stamp: u64, now: Duration) -> Duration {
    now.saturating_sub(Duration::from_nanos(stamp.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
