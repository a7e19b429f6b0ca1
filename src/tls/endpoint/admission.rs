//! How many connections and handshakes there may be at once, in all and for each source.

use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, timeout};

use crate::matcher::Cidr;
use crate::tls::connection::silence::{Counted, Room, Silent};
use crate::tls::reason::Reason;

use super::handshake::HandshakeError;

/// How many connections and handshakes a listener takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections, including those in their handshake. Further connections wait in the
    /// socket's backlog. 10,000, or half the file descriptors of the process when that is less.
    pub connections: usize,
    /// Handshakes at once, of clients whose hello has come; 256 by default.
    pub handshakes: usize,
    /// Handshakes at once from one address (of IPv6, one /64); 64 by default.
    pub handshakes_per_source: usize,
    /// Connections at once from one address (IPv6: one /64) that have not sent their hello or, on a
    /// plaintext port, anything; 256 by default. One more is closed at once, and counted as
    /// [`Reason::TooManySilent`]. [Load balancers](crate::tls::Listener::load_balancers) are
    /// exempt.
    ///
    /// [`HandshakeTimeouts::first_byte`](crate::tls::HandshakeTimeouts::first_byte) bounds how long
    /// each may be silent. When fewer than half of [`connections`](Self::connections) are free, a
    /// second bound applies, which shrinks from 10 s to 2 s as they run out.
    pub silent_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: descriptors()
                .map_or(MOST_CONNECTIONS, |all| MOST_CONNECTIONS.min(all / 2)),
            handshakes: 256,
            handshakes_per_source: 64,
            silent_per_source: 256,
        }
    }
}

/// Grants the right to connect, and then the right to make a handshake.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    all: Arc<Semaphore>,
    by_source: HashMap<IpAddr, PerSource>,
    /// Addresses whose connections may all be silent.
    exempt: Box<[Cidr]>,
    /// How many sources trigger a removal of those that are gone.
    forget_at: usize,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: permits(limits.handshakes),
            by_source: HashMap::new(),
            exempt: Box::default(),
            forget_at: few(limits),
        }
    }

    /// Sets other limits, for new connections.
    pub(super) fn bound(&mut self, limits: Limits) {
        let exempt = mem::take(&mut self.exempt);
        *self = Self {
            exempt,
            ..Self::new(limits)
        };
    }

    pub(super) fn exempt(&mut self, ranges: Box<[Cidr]>) {
        self.exempt = ranges;
    }

    /// Admits one more connection, which is silent at first; `None` when its source has too many
    /// silent ones.
    pub(super) fn admit(
        &mut self,
        source: IpAddr,
        open: &Arc<Semaphore>,
    ) -> Option<(Tickets, Silent)> {
        self.forget();
        let source = source.to_canonical();
        let limits = self.limits;
        let per_source = self
            .by_source
            .entry(network(source))
            .or_insert_with(|| PerSource::new(limits));
        let is_exempt = self.exempt.iter().any(|range| range.contains(source));
        let counted = match is_exempt {
            true => None,
            false => Some(Counted::among(
                &per_source.silent,
                limits.silent_per_source,
            )?),
        };
        let room = Room {
            open: Arc::clone(open),
            most: most(limits.connections),
        };
        let tickets = Tickets {
            all: Arc::clone(&self.all),
            source: Arc::clone(&per_source.handshakes),
        };
        Some((tickets, Silent::new(counted, room)))
    }

    /// Removes the sources that are gone, so that there are no more sources than connections.
    fn forget(&mut self) {
        if self.by_source.len() <= self.forget_at {
            return;
        }
        self.by_source.retain(|_, source| source.is_there());
        // The next removal waits until there are twice as many, so that many silent clients do not
        // make each new connection expensive.
        self.forget_at = few(self.limits).max(self.by_source.len().saturating_mul(2));
        self.by_source.shrink_to(self.forget_at);
    }
}

/// The connections and handshakes of one source.
#[derive(Debug)]
struct PerSource {
    handshakes: Arc<Semaphore>,
    silent: Arc<AtomicUsize>,
}

impl PerSource {
    fn new(limits: Limits) -> Self {
        Self {
            handshakes: permits(limits.handshakes_per_source),
            silent: Arc::default(),
        }
    }

    /// A connection that is silent, makes a handshake or waits for one holds a second reference.
    fn is_there(&self) -> bool {
        Arc::strong_count(&self.handshakes) > 1 || Arc::strong_count(&self.silent) > 1
    }
}

/// The count is capped at the most that a semaphore can hold.
pub(super) fn permits(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most(count)))
}

fn most(places: usize) -> usize {
    places.min(Semaphore::MAX_PERMITS)
}

fn few(limits: Limits) -> usize {
    limits.handshakes.saturating_mul(4)
}

/// Where one connection waits for its turn.
#[derive(Debug)]
pub(super) struct Tickets {
    all: Arc<Semaphore>,
    source: Arc<Semaphore>,
}

impl Tickets {
    /// Waits for a turn, for a second at most.
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

/// The addresses that one client is expected to control: an IPv4 address, or the /64 in which an
/// IPv6 host chooses its addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// The soft limit on open files, where the system shows it in a file.
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
    use std::net::Ipv4Addr;

    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits {
            connections: 100,
            handshakes: 3,
            handshakes_per_source: 2,
            silent_per_source: 3,
        })
    }

    impl Admission {
        fn tickets(&mut self, source: IpAddr) -> Tickets {
            self.admit(source, &permits(100)).unwrap().0
        }

        fn silent(&mut self, source: &str) -> Option<Silent> {
            self.admit(address(source), &permits(100))
                .map(|(_, silent)| silent)
        }
    }

    ///
    #[tokio::test]
    async fn one_source_cannot_be_silent_without_end() {
        let mut admission = admission();
        let mut held: Vec<_> = (0..3).map(|_| admission.silent("192.0.2.1")).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(admission.silent("192.0.2.1").is_none());
        assert!(admission.silent("::ffff:192.0.2.1").is_none(), "the same");
        assert!(admission.silent("192.0.2.2").is_some());
        held.pop();
        assert!(admission.silent("192.0.2.1").is_some());
        let _v6: Vec<_> = (1..=3)
            .map(|host| admission.silent(&format!("2001:db8::{host}")).unwrap())
            .collect();
        assert!(admission.silent("2001:db8::ffff:0:0:9").is_none());
        assert!(admission.silent("2001:db8:0:1::1").is_some());
    }

    #[tokio::test]
    async fn a_load_balancer_may_have_many_silent_connections() {
        let mut admission = admission();
        let ranges = ["192.0.2.0/24", "2001:db8::/32"].map(|range| Cidr::parse(range).unwrap());
        admission.exempt(ranges.into());
        for (source, expected) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("2001:db8:7::1", true),
            ("198.51.100.1", false),
            ("2001:db9::1", false),
        ] {
            let held: Vec<_> = (0..4).map(|_| admission.silent(source)).collect();
            assert_eq!(held.iter().all(Option::is_some), expected, "{source}");
        }
    }

    #[tokio::test]
    async fn those_who_connect_and_go_leave_nothing() {
        let mut admission = admission();
        for host in 0..100_000_u32 {
            let _ = admission.admit(Ipv4Addr::from_bits(host).into(), &permits(1));
        }
        assert!(admission.by_source.len() <= 13);
        assert!(admission.by_source.capacity() < 100);
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
