//! Splits an upstream by port, because its TLS server name depends on the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::Uri;

use super::cluster::Cluster;

/// The clusters of one upstream, one for each port that calls have used.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Ports(ArcSwap<Known>);

/// The clusters that are known, in the order of their making.
#[derive(Debug, Default)]
struct Known {
    /// How many clusters have been added so far. It is the clock of [`Entry::used`], because it
    /// only changes with this list: a call writes once after each change, and else only reads.
    added: u64,
    entries: Vec<Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    port: u16,
    cluster: Arc<Cluster>,
    /// The value of [`Known::added`] at its last use.
    used: AtomicU64,
}

impl Ports {
    /// The cluster for this port; `make` creates it at the first call.
    pub(super) fn get(&self, port: u16, make: impl FnOnce() -> Cluster) -> Arc<Cluster> {
        if let Some(known) = self.0.load().get(port) {
            return known;
        }
        let made = Arc::new(make());
        self.0.rcu(|known| match known.get(port) {
            Some(_) => Arc::clone(known),
            None => Arc::new(known.with(port, &made)),
        });
        self.0.load().get(port).unwrap_or(made)
    }

    /// Takes over the clusters of `before`, each changed by `follow`.
    pub(super) fn take_over(&self, before: &Self, follow: impl Fn(&Arc<Cluster>) -> Arc<Cluster>) {
        let before = before.0.load();
        let follow = |entry: &Arc<Entry>| {
            Arc::new(Entry {
                port: entry.port,
                cluster: follow(&entry.cluster),
                used: entry.used.load(Ordering::Relaxed).into(),
            })
        };
        self.0.store(Arc::new(Known {
            added: before.added,
            entries: before.entries.iter().map(follow).collect(),
        }));
    }
}

impl Known {
    fn get(&self, port: u16) -> Option<Arc<Cluster>> {
        let entry = self.entries.iter().find(|entry| entry.port == port)?;
        // Reading first keeps the cache line shared between processors.
        if entry.used.load(Ordering::Relaxed) != self.added {
            entry.used.store(self.added, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.cluster))
    }

    fn with(&self, port: u16, cluster: &Arc<Cluster>) -> Self {
        let (added, mut entries) = (self.added + 1, self.entries.clone());
        if entries.len() >= MOST {
            // The idle connections of the cluster that is removed close with it.
            let used = |entry: &Arc<Entry>| entry.used.load(Ordering::Relaxed);
            let last = entries.iter().map(used).enumerate();
            if let Some((index, _)) = last.min_by_key(|(_, used)| *used) {
                entries.remove(index);
            }
        }
        entries.push(Arc::new(Entry {
            port,
            cluster: Arc::clone(cluster),
            used: added.into(),
        }));
        Self { added, entries }
    }
}

/// The host of a URI, without the brackets around an IPv6 address.
pub(super) fn bare_host(uri: &Uri) -> &str {
    bare(uri.host().unwrap_or_default())
}

/// A host without brackets. Only a URI writes brackets around an IPv6 address.
pub(in crate::mesh) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The largest number of ports, so that a caller that chooses ports cannot use unbounded memory.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::connection::dial::Target;
    use super::*;
    use crate::propagation::Destination;

    fn cluster() -> Cluster {
        let (host, tls) = ("legacy.example".into(), None);
        let target = Target::External { host, tls };
        Cluster::new(target, Destination::outside(), [].into())
    }

    #[test]
    fn the_port_that_was_used_longest_ago_is_forgotten() {
        let ports = Ports::default();
        let first = ports.get(1, cluster);
        let second = ports.get(2, cluster);
        for port in 3..100 {
            ports.get(port, cluster);
            assert!(Arc::ptr_eq(&first, &ports.get(1, cluster)), "{port}");
        }
        assert!(!Arc::ptr_eq(&second, &ports.get(2, cluster)));
        assert_eq!(ports.0.load().entries.len(), MOST);
    }
}
