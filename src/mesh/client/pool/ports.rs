//! Splits an upstream by port, because its TLS server name depends on the port.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Uri;

use super::cluster::Cluster;

/// The clusters of one upstream, one for each port that calls have used.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Ports(ArcSwap<Vec<(u16, Arc<Cluster>)>>);

impl Ports {
    /// The cluster for this port; `make` creates it at the first call.
    pub(super) fn get(&self, port: u16, make: impl FnOnce() -> Cluster) -> Arc<Cluster> {
        if let Some(known) = find(&self.0.load(), port) {
            return known;
        }
        let made = Arc::new(make());
        self.0.rcu(|known| {
            let mut next = Vec::clone(known);
            if find(known, port).is_none() {
                // The oldest cluster is removed, and its idle connections close with it.
                next.drain(..(next.len() + 1).saturating_sub(MOST));
                next.push((port, Arc::clone(&made)));
            }
            next
        });
        find(&self.0.load(), port).unwrap_or(made)
    }

    /// Takes over the clusters of `before`, each changed by `follow`.
    pub(super) fn take_over(&self, before: &Self, follow: impl Fn(&Arc<Cluster>) -> Arc<Cluster>) {
        let before = before.0.load();
        let clusters = before
            .iter()
            .map(|(port, cluster)| (*port, follow(cluster)));
        self.0.store(Arc::new(clusters.collect()));
    }
}

fn find(known: &[(u16, Arc<Cluster>)], port: u16) -> Option<Arc<Cluster>> {
    let found = known.iter().find(|(known, _)| *known == port);
    found.map(|(_, cluster)| Arc::clone(cluster))
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
