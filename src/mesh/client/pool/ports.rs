use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Uri;

use super::cluster::Cluster;

/// An upstream as it is called on each port, which its name in TLS says.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Ports(ArcSwap<Vec<(u16, Arc<Cluster>)>>);

impl Ports {
    /// The upstream on this port, made when it is called there first.
    pub(super) fn get(&self, port: u16, make: impl FnOnce() -> Cluster) -> Arc<Cluster> {
        if let Some(known) = find(&self.0.load(), port) {
            return known;
        }
        let made = Arc::new(make());
        self.0.rcu(|known| {
            let mut next = Vec::clone(known);
            if find(known, port).is_none() {
                // The one made first goes, and with it the connections that no call is on.
                next.drain(..(next.len() + 1).saturating_sub(MOST));
                next.push((port, Arc::clone(&made)));
            }
            next
        });
        find(&self.0.load(), port).unwrap_or(made)
    }

    /// What these calls were to, as `follow` says.
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

/// A host without the brackets that only a URI writes around an IPv6 address.
pub(in crate::mesh) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A caller that chooses ports cannot make us hold more.
const MOST: usize = 64;
