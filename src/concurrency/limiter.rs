//! Counts the requests that are under way, and admits no more than the limit.

#![expect(
    clippy::disallowed_types,
    reason = "the lock is only tried, once in each window, and never waited for"
)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{HeaderMap, StatusCode};

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
                let window = u64::try_from(options.window.as_nanos()).unwrap_or(u64::MAX);
                let adapting = Adapting {
                    latencies: Latencies::new(),
                    peak: AtomicU32::new(0),
                    window,
                    window_ends: AtomicU64::new(window),
                    gradient: Mutex::new(gradient),
                };
                (options.initial, Some(Box::new(adapting)))
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
        let begun = match &self.adaptive {
            Some(_) => self.now(),
            None => 0,
        };
        self.admit_at(begun)
    }

    fn admit_at(self: &Arc<Self>, now: u64) -> Option<Permit> {
        let limit = self.limit.load(Ordering::Relaxed);
        let one_more = |in_flight: u32| (in_flight < limit).then_some(in_flight + 1);
        let order = Ordering::Relaxed;
        let Ok(before) = self.in_flight.fetch_update(order, order, one_more) else {
            self.refused.fetch_add(1, order);
            return None;
        };
        if let Some(adapting) = &self.adaptive {
            adapting.peak.fetch_max(before + 1, order);
        }
        Some(Permit {
            limiter: Arc::clone(self),
            begun: self.adaptive.is_some().then_some(now),
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

    /// Takes in the latency of one request, and ends the window if its time is over.
    fn sample(&self, adapting: &Adapting, nanos: u64, now: u64) {
        adapting.latencies.add(nanos);
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

/// A request under way. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    /// When the request began; `None` if the limit is fixed or has the latency already.
    begun: Option<u64>,
}

impl Permit {
    /// The head of the response is there. An error says nothing about the latency of the
    /// application: guards answer with errors, too, and callers can ask for them.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if self.begun.is_some() {
            let is_error = status.is_client_error()
                || status.is_server_error()
                || GrpcStatus::from_headers(headers).is_some_and(|status| status.code() != 0);
            self.answered_at(is_error, self.limiter.now());
        }
    }

    fn answered_at(&mut self, is_error: bool, now: u64) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        if let Some(adapting) = self.limiter.adaptive.as_ref().filter(|_| !is_error) {
            let limiter = &self.limiter;
            limiter.sample(adapting, now.saturating_sub(begun), now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
