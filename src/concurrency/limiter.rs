//! Counts the requests that are under way, and admits no more than the limit.

#![expect(
    clippy::disallowed_types,
    reason = "the lock is only tried, once in each window, and never waited for"
)]

use std::mem;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(not(feature = "tokio"))]
use std::time::Instant;

use http::{HeaderMap, StatusCode};
// The clock of the runtime, which a test can stop.
#[cfg(feature = "tokio")]
use tokio::time::Instant;

use super::gradient::Gradient;
use super::latencies::Latencies;
use super::options::{ConcurrencyLimit, Kind};
use crate::message::GrpcStatus;

/// A limit that counts.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: AtomicU32,
    in_flight: AtomicU32,
    refused: AtomicU64,
    exempt: Box<[Box<str>]>,
    adaptive: Option<Box<Adapting>>,
    start: Instant,
}

#[derive(Debug)]
struct Adapting {
    gradient: Mutex<Gradient>,
    latencies: Latencies,
    /// The requests whose response has no head yet. They alone bring samples.
    unanswered: AtomicU32,
    /// As many may be unanswered whatever the limit is.
    least: u32,
    most: u32,
    /// The most requests that were under way at once in this window.
    peak: AtomicU32,
    /// In nanoseconds.
    window: u64,
    window_ends: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(limit: &ConcurrencyLimit) -> Self {
        let (limit_now, adaptive) = match &limit.kind {
            Kind::Fixed(requests) => (*requests, None),
            Kind::Adaptive(options) => {
                let gradient = Gradient::new(*options);
                let initial = gradient.limit();
                let window = u64::try_from(options.window.as_nanos()).unwrap_or(u64::MAX);
                let adapting = Adapting {
                    latencies: Latencies::new(),
                    unanswered: AtomicU32::new(0),
                    least: options.least,
                    most: options.most,
                    peak: AtomicU32::new(0),
                    window,
                    window_ends: AtomicU64::new(window),
                    gradient: Mutex::new(gradient),
                };
                (initial, Some(Box::new(adapting)))
            }
        };
        Self {
            limit: AtomicU32::new(limit_now),
            in_flight: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            exempt: limit.exempt.clone().into(),
            adaptive,
            start: Instant::now(),
        }
    }

    /// Whether requests for this path, without its query, pass without being counted.
    pub(crate) fn exempts(&self, path: &str) -> bool {
        self.exempt.iter().any(|exempt| **exempt == *path)
    }

    /// Admits one more request; `None` if as many as the limit are under way.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.limit();
        let in_flight = match &self.adaptive {
            None => one_more(&self.in_flight, limit),
            Some(adapting) => adapting.admit(&self.in_flight, limit),
        };
        if in_flight.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        in_flight.map(|_| Permit {
            limiter: Arc::clone(self),
            is_unanswered: self.adaptive.is_some(),
            called: None,
        })
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes in the latency of one request, if it is a sample, and ends the window if its time is
    /// over.
    fn sample(&self, adapting: &Adapting, nanos: Option<u64>, now: u64) {
        if let Some(nanos) = nanos {
            adapting.latencies.add(nanos);
        }
        if now < adapting.window_ends.load(Ordering::Relaxed) {
            return;
        }
        // Another thread that is here does it.
        let Ok(mut gradient) = adapting.gradient.try_lock() else {
            return;
        };
        let samples = adapting.latencies.snapshot();
        let peak = adapting.peak.load(Ordering::Relaxed);
        if gradient.update(&samples, peak, now) {
            adapting.latencies.forget(&samples);
            adapting.peak.store(self.in_flight(), Ordering::Relaxed);
            self.limit.store(gradient.limit(), Ordering::Relaxed);
        }
        let ends = now.saturating_add(adapting.window);
        adapting.window_ends.store(ends, Ordering::Relaxed);
    }
}

impl Adapting {
    /// Counts one more request as under way, and returns how many are.
    ///
    /// A stream is under way long after its head, the one sample that it brings. If streams alone
    /// use the limit up, as they can while a probe halves it, then no request would bring a sample,
    /// and the limit would stay as it is until they end. So a few requests may always be
    /// unanswered.
    fn admit(&self, in_flight: &AtomicU32, limit: u32) -> Option<u32> {
        let count = match one_more(in_flight, limit) {
            Some(count) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                count
            }
            None => {
                one_more(&self.unanswered, self.least)?;
                one_more(in_flight, self.most).or_else(|| {
                    self.unanswered.fetch_sub(1, Ordering::Relaxed);
                    None
                })?
            }
        };
        self.peak.fetch_max(count, Ordering::Relaxed);
        Some(count)
    }
}

/// Adds one, and returns the new count; `None` if that would be more than the most.
fn one_more(count: &AtomicU32, most: u32) -> Option<u32> {
    let one_more = |count: u32| (count < most).then_some(count + 1);
    let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    before.ok().map(|before| before + 1)
}

/// A request under way. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    /// Whether the response has no head yet. Only an adaptive limit counts such requests.
    is_unanswered: bool,
    /// When the application was called; `None` while guards judge the request, and under a fixed
    /// limit.
    called: Option<u64>,
}

impl Permit {
    /// The application is called now: the latency begins. An answer of somebody else, before or
    /// without this, is no sample.
    pub(crate) fn called(&mut self) {
        if self.is_unanswered {
            self.called_at(self.limiter.now());
        }
    }

    fn called_at(&mut self, now: u64) {
        self.called = Some(now);
    }

    /// The head of the response is there. An error says nothing about the latency of the
    /// application: callers can ask for errors, and they are often quick.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if self.is_unanswered {
            let is_error = status.is_client_error()
                || status.is_server_error()
                || GrpcStatus::from_headers(headers).is_some_and(|status| status.code() != 0);
            self.answered_at(is_error, self.limiter.now());
        }
    }

    fn answered_at(&mut self, is_error: bool, now: u64) {
        self.leave_unanswered();
        if let Some(adapting) = &self.limiter.adaptive
            && let Some(called) = self.called.take()
        {
            let latency = now.saturating_sub(called);
            let sample = (!is_error).then_some(latency);
            self.limiter.sample(adapting, sample, now);
        }
    }

    fn leave_unanswered(&mut self) {
        if mem::take(&mut self.is_unanswered)
            && let Some(adapting) = &self.limiter.adaptive
        {
            adapting.unanswered.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave_unanswered();
        self.limiter.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
