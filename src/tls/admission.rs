use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, timeout};

use super::handshake::HandshakeError;
use super::reason::Reason;

/// How much a listener takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections, those in their handshake included; beyond it, connections wait in the socket's backlog. 10,000, or half the
    /// file descriptors of the process when that is less.
    pub connections: usize,
    /// Handshakes at once, of clients that have said their hello; 256 by default.
    pub handshakes: usize,
    /// Handshakes at once from one address (of IPv6, one /64); 64 by default.
    pub handshakes_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: descriptors()
                .map_or(MOST_CONNECTIONS, |all| MOST_CONNECTIONS.min(all / 2)),
            handshakes: 256,
            handshakes_per_source: 64,
        }
    }
}

/// Hands out the right to make a handshake.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    all: Arc<Semaphore>,
    by_source: HashMap<IpAddr, Arc<Semaphore>>,
    /// At how many sources those that are gone are forgotten.
    forget_at: usize,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: places(limits.handshakes),
            by_source: HashMap::new(),
            forget_at: few(limits),
        }
    }

    pub(super) fn tickets(&mut self, source: IpAddr) -> Tickets {
        if self.by_source.len() > self.forget_at {
            // Whoever makes a handshake or may still wait for one holds a second reference.
            self.by_source
                .retain(|_, source| Arc::strong_count(source) > 1);
            // Looked through again once there are twice as many, so that many silent ones do not make each connection dear.
            self.forget_at = few(self.limits).max(self.by_source.len().saturating_mul(2));
        }
        let source = self
            .by_source
            .entry(network(source))
            .or_insert_with(|| places(self.limits.handshakes_per_source));
        Tickets {
            all: Arc::clone(&self.all),
            source: Arc::clone(source),
        }
    }
}

/// More than there can be are as many as there can be.
pub(super) fn places(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}

fn few(limits: Limits) -> usize {
    limits.handshakes.saturating_mul(4)
}

/// Where one connection takes its turn.
#[derive(Debug)]
pub(super) struct Tickets {
    all: Arc<Semaphore>,
    source: Arc<Semaphore>,
}

impl Tickets {
    /// Waits for a turn, a second at most.
    pub(super) async fn take(self) -> Result<[OwnedSemaphorePermit; 2], HandshakeError> {
        let turn = async {
            let source = self.source.acquire_owned().await;
            Ok([source?, self.all.acquire_owned().await?])
        };
        match timeout(LONGEST_WAIT, turn).await {
            Ok(Ok::<_, tokio::sync::AcquireError>(tickets)) => Ok(tickets),
            Ok(Err(_)) | Err(_) => Err(HandshakeError::new(Reason::TooMany)),
        }
    }
}

/// What one client can be expected to hold: an IPv4 address, or the /64 that an IPv6 host picks its addresses from.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// The soft limit on open files, where the system tells it in a file.
fn descriptors() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

const MOST_CONNECTIONS: usize = 10_000;
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits {
            connections: 100,
            handshakes: 3,
            handshakes_per_source: 2,
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    ///
    #[tokio::test(start_paused = true)]
    async fn one_source_cannot_take_every_turn() {
        let mut admission = admission();
        let greedy = address("192.0.2.1");
        let _first = admission.tickets(greedy).take().await.unwrap();
        let second = admission.tickets(greedy).take().await.unwrap();
        let begun = tokio::time::Instant::now();
        let refused = admission.tickets(greedy).take().await.unwrap_err();
        assert_eq!(refused.reason(), Reason::TooMany);
        assert_eq!(begun.elapsed(), LONGEST_WAIT);

        let _other = admission
            .tickets(address("192.0.2.2"))
            .take()
            .await
            .unwrap();
        drop(second);
        assert!(admission.tickets(greedy).take().await.is_ok());
    }

    ///
    #[tokio::test(start_paused = true)]
    async fn all_sources_together_have_a_bound_too() {
        let mut admission = admission();
        let mut held = Vec::new();
        for source in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            held.push(admission.tickets(address(source)).take().await.unwrap());
        }
        let fourth = admission.tickets(address("192.0.2.4")).take();
        assert_eq!(fourth.await.unwrap_err().reason(), Reason::TooMany);
    }

    #[test]
    fn an_ipv6_host_counts_with_its_whole_network() {
        assert_eq!(
            network(address("2001:db8:0:1::1")),
            network(address("2001:db8:0:1:ffff::2"))
        );
        assert_ne!(
            network(address("2001:db8:0:1::1")),
            network(address("2001:db8:0:2::1"))
        );
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[tokio::test]
    async fn sources_that_are_gone_are_forgotten() {
        let mut admission = admission();
        for host in 0..=u8::MAX {
            drop(admission.tickets(IpAddr::from([192, 0, 2, host])));
        }
        assert!(admission.by_source.len() <= 13);
    }
}
