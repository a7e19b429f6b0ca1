//! For whom routes are made.

use std::collections::BTreeMap;

use crate::identity::Workload;
use crate::istio::Text;
use crate::istio::traffic::{ConsistentHash, HttpRetry, L4Match};

/// What routes are made for: a workload's calls to one port.
#[derive(Clone, Copy)]
pub(in crate::routing) struct Context<'c> {
    pub(in crate::routing) workload: &'c Workload,
    /// `mesh`, or `NAMESPACE/NAME` of a gateway.
    pub(in crate::routing) gateway: &'c str,
    /// The port that calls name.
    pub(in crate::routing) port: u16,
    /// The host of a service for one of its aliases.
    pub(in crate::routing) service_host: &'c dyn Fn(&str) -> Option<String>,
    /// MeshConfig's `defaultHttpRetryPolicy`.
    pub(in crate::routing) default_retry: Option<&'c HttpRetry>,
    pub(in crate::routing) hashes: &'c dyn HashLookup,
}

/// Who knows the consistent hash of a destination, by its DestinationRule.
pub trait HashLookup {
    /// The hash that picks endpoints of a host's subset for calls to `port`; the empty subset is
    /// the whole service. `is_port_named` says that the route names the port, without which
    /// `portLevelSettings` do not count.
    fn hash(
        &self,
        host: &str,
        subset: &str,
        port: u16,
        is_port_named: bool,
    ) -> Option<ConsistentHash>;
}

/// No destination is balanced by hash.
impl HashLookup for () {
    fn hash(&self, _: &str, _: &str, _: u16, _: bool) -> Option<ConsistentHash> {
        None
    }
}

impl Context<'_> {
    /// Whether one of these gateways, written in a match, is the one that routes are made for.
    pub(super) fn is_at(&self, gateways: &[Text]) -> bool {
        gateways
            .iter()
            .any(|gateway| gateway.as_str() == self.gateway)
    }

    /// Whether the part of a `tls[]` or `tcp[]` match holds that no connection decides: all of it
    /// must.
    pub(in crate::routing) fn takes(&self, of_match: &L4Match) -> bool {
        of_match.port.is_none_or(|port| port == self.port)
            && (of_match.gateways.is_empty() || self.is_at(&of_match.gateways))
            && self.has_labels(&of_match.source_labels)
            && self.is_in(of_match.source_namespace.as_ref())
    }

    /// Whether the workload has all these labels.
    pub(super) fn has_labels(&self, labels: &BTreeMap<String, Text>) -> bool {
        labels.iter().all(|(key, value)| {
            let own = self.workload.labels().get(key);
            own.is_some_and(|own| own == value.as_str())
        })
    }

    /// Whether the workload is of this namespace; none is any.
    pub(super) fn is_in(&self, namespace: Option<&Text>) -> bool {
        namespace.is_none_or(|namespace| namespace.as_str() == self.workload.namespace())
    }
}
