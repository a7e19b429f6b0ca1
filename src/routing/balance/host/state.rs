//! A host, and the calls that it is busy with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use super::health::Health;
use super::latency::PeakEwma;

/// An endpoint of a cluster. It lives on across updates that keep its address, so that ejections,
/// the count of calls and latencies do.
///
/// What changes is held in atomics: nothing here locks. Health only takes effect when a new
/// [`HostSet`](crate::routing::balance::HostSet) is built.
pub struct Host {
    address: Box<str>,
    appeared: Duration,
    discovered: AtomicU8,
    is_ejected: AtomicBool,
    in_flight: AtomicU32,
    latency: PeakEwma,
}

/// A call that a host is busy with, from the moment it is sent until its response body has ended.
/// Dropping this ends it.
#[derive(Debug)]
pub struct InFlight(Arc<Host>);

impl Host {
    /// A healthy host, without calls.
    ///
    /// `address` is what consistent hashing places it by, as `192.0.2.1:8080`. `appeared` is when it
    /// came, in the time of a monotonic clock since any beginning that all times here share.
    #[must_use]
    pub fn new(address: impl Into<Box<str>>, appeared: Duration) -> Self {
        Self {
            address: address.into(),
            appeared,
            discovered: AtomicU8::new(Health::Healthy as u8),
            is_ejected: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            latency: PeakEwma::default(),
        }
    }

    /// The address, with the port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When it appeared.
    #[must_use]
    pub fn appeared(&self) -> Duration {
        self.appeared
    }

    /// Whether it can be used.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.is_ejected.load(Ordering::Acquire) {
            return Health::Unhealthy;
        }
        match self.discovered.load(Ordering::Acquire) {
            HEALTHY => Health::Healthy,
            DEGRADED => Health::Degraded,
            _ => Health::Unhealthy,
        }
    }

    /// Sets what discovery says of it.
    pub fn set_discovered(&self, health: Health) {
        self.discovered.store(health as u8, Ordering::Release);
    }

    /// Ejects it, or takes it back, as outlier detection says.
    pub fn set_ejected(&self, is_ejected: bool) {
        self.is_ejected.store(is_ejected, Ordering::Release);
    }

    /// The calls that it is busy with, of this process.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        // Picks compare counts that are out of date a moment later, so no order is needed.
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long its answers take.
    #[must_use]
    pub fn latency(&self) -> &PeakEwma {
        &self.latency
    }

    /// Counts a call.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("address", &self.address)
            .field("health", &self.health())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl InFlight {
    /// The host that is busy with it.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

const HEALTHY: u8 = Health::Healthy as u8;
const DEGRADED: u8 = Health::Degraded as u8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ejected_host_is_unhealthy_whatever_discovery_says() {
        let host = Host::new("192.0.2.1:80", Duration::ZERO);
        assert_eq!(host.health(), Health::Healthy);
        for health in [Health::Degraded, Health::Unhealthy, Health::Healthy] {
            host.set_discovered(health);
            assert_eq!(host.health(), health);
        }
        host.set_ejected(true);
        assert_eq!(host.health(), Health::Unhealthy);
        host.set_ejected(false);
        assert_eq!(host.health(), Health::Healthy);
    }

    #[test]
    fn a_call_counts_until_it_is_dropped() {
        let host = Arc::new(Host::new("192.0.2.1:80", Duration::ZERO));
        let (one, two) = (host.start(), host.start());
        assert_eq!(host.in_flight(), 2);
        assert!(Arc::ptr_eq(one.host(), &host));
        drop(one);
        assert_eq!(host.in_flight(), 1);
        drop(two);
        assert_eq!(host.in_flight(), 0);
    }
}
