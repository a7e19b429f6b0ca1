//! How clusters are made.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::SpiffeId;

/// How [`Clusters`](super::Clusters) are made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The domain of full names; `cluster.local` by default.
    pub domain: String,
    /// The part of the zone that the workload runs in, if it is known.
    pub subzone: String,
    /// The network that it is in, if it is known.
    pub network: String,
    /// Who hosts run as, where no resource says so.
    pub upstreams: BTreeMap<String, Vec<SpiffeId>>,
    trusted_hosts: BTreeSet<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            subzone: String::new(),
            network: String::new(),
            upstreams: BTreeMap::new(),
            trusted_hosts: BTreeSet::new(),
        }
    }
}

impl ClusterOptions {
    /// Options that give up a part of the security.
    pub fn danger(&mut self) -> DangerousClusterOptions<'_> {
        DangerousClusterOptions(self)
    }

    pub(super) fn trusts_domain(&self, host: &str) -> bool {
        self.trusted_hosts.contains(host)
    }
}

/// Options that give up a part of the security.
#[derive(Debug)]
pub struct DangerousClusterOptions<'o>(&'o mut ClusterOptions);

impl DangerousClusterOptions<'_> {
    /// Any workload of our trust domain may answer for this host where nothing says who it runs as.
    pub fn accept_any_identity_for(self, host: impl Into<String>) {
        self.0.trusted_hosts.insert(host.into());
    }
}
