//! Circuit breakers: how much may be under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a cluster may have at once: DestinationRule `connectionPool`.
///
/// Istio's default for all is 2³² − 1; 0 in a resource means that, too, and must be made it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `tcp.maxConnections`.
    pub connections: u32,
    /// `http.http1MaxPendingRequests`: calls that wait for a connection.
    pub pending: u32,
    /// `http.http2MaxRequests`: calls from the moment they are sent until their answer's body ended.
    pub requests: u32,
    /// `http.maxRetries`: retries, from their decision until their own answer.
    pub retries: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            connections: u32::MAX,
            pending: u32::MAX,
            requests: u32::MAX,
            retries: u32::MAX,
        }
    }
}

/// What was too much: 503, flag `UO`, never retried. For retries, the answer that was to be retried
/// goes back instead, with that flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Too many calls wait.
    Pending,
    /// Too many calls are under way.
    Requests,
    /// Too many connections are open.
    Connections,
    /// Too many retries are under way.
    Retries,
}

/// The places of a cluster that are taken. All clones of the [`Arc`]s inside count together.
///
/// Nothing waits and nothing locks: a place is taken, or there is none. Unlike in Envoy, threads
/// cannot overrun a threshold together.
#[derive(Clone, Debug, Default)]
pub struct CircuitBreaker {
    connections: Arc<Places>,
    pending: Arc<Places>,
    requests: Arc<Places>,
    retries: Arc<Places>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// Where a call is that was admitted.
#[derive(Debug)]
pub enum Admitted {
    /// It may be sent on the connection that was ready.
    Ready(Place),
    /// It may wait for one. When it has one, it needs [`CircuitBreaker::request`] and drops this.
    Pending(Place),
}

#[derive(Debug)]
struct Places {
    taken: AtomicU32,
    most: AtomicU32,
}

impl CircuitBreaker {
    /// A breaker of which nothing is taken.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        let breaker = Self::default();
        breaker.set_thresholds(thresholds);
        breaker
    }

    /// Changes what there may be. What is taken stays so.
    pub fn set_thresholds(&self, thresholds: Thresholds) {
        for (places, most) in [
            (&self.connections, thresholds.connections),
            (&self.pending, thresholds.pending),
            (&self.requests, thresholds.requests),
            (&self.retries, thresholds.retries),
        ] {
            places.most.store(most, Ordering::Relaxed);
        }
    }

    /// A call comes. In order: without a connection that is ready it waits, if it may; otherwise it
    /// is sent, if it may.
    ///
    /// # Errors
    ///
    /// What there is too much of.
    pub fn admit(&self, is_connection_ready: bool) -> Result<Admitted, Overflow> {
        if is_connection_ready {
            self.request().map(Admitted::Ready)
        } else {
            Place::take(&self.pending, Overflow::Pending).map(Admitted::Pending)
        }
    }

    /// A call is sent.
    ///
    /// # Errors
    ///
    /// Too many calls are under way.
    pub fn request(&self) -> Result<Place, Overflow> {
        Place::take(&self.requests, Overflow::Requests)
    }

    /// A connection is opened to a host that has so many of this cluster. The first one of a host is
    /// always allowed.
    ///
    /// # Errors
    ///
    /// Too many connections are open; the call goes on waiting.
    pub fn connection(&self, of_host: usize) -> Result<Place, Overflow> {
        if of_host == 0 {
            return Ok(Place::take_any(&self.connections));
        }
        Place::take(&self.connections, Overflow::Connections)
    }

    /// A retry is decided.
    ///
    /// # Errors
    ///
    /// Too many retries are under way.
    pub fn retry(&self) -> Result<Place, Overflow> {
        Place::take(&self.retries, Overflow::Retries)
    }

    /// A retry is decided under a budget, which replaces the threshold: `allows` gets how many
    /// retries are under way, and how many calls are and wait.
    ///
    /// # Errors
    ///
    /// It does not allow one more.
    pub fn retry_within(&self, allows: impl Fn(u32, u32, u32) -> bool) -> Result<Place, Overflow> {
        let (active, pending) = (self.requests.taken(), self.pending.taken());
        Place::take_if(&self.retries, |retries| allows(retries, active, pending))
            .ok_or(Overflow::Retries)
    }
}

impl Place {
    fn take(places: &Arc<Places>, overflow: Overflow) -> Result<Self, Overflow> {
        let most = places.most.load(Ordering::Relaxed);
        Self::take_if(places, |taken| taken < most).ok_or(overflow)
    }

    fn take_any(places: &Arc<Places>) -> Self {
        places.taken.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(places))
    }

    fn take_if(places: &Arc<Places>, is_free: impl Fn(u32) -> bool) -> Option<Self> {
        let order = Ordering::Relaxed;
        let one_more = |taken: u32| is_free(taken).then(|| taken.saturating_add(1));
        places.taken.fetch_update(order, order, one_more).ok()?;
        Some(Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            taken: AtomicU32::new(0),
            most: AtomicU32::new(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests;
