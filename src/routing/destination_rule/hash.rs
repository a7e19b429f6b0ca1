//! By which hash a route's destination is balanced.

use crate::identity::Workload;
use crate::istio::traffic::{ConsistentHash, LoadBalancer, TrafficPolicy};
use crate::routing::services::SidecarScope;
use crate::routing::virtual_service::HashLookup;

use super::{DestinationRules, Policy};

/// The hashes of destinations, for the routes of one caller: `consistentHash` of the subset's port,
/// else of the subset, else of the rule's port, else of the rule. Unlike in a [`Policy`] the first
/// that is there counts, and those of ports only where the route names the port.
#[derive(Clone, Copy, Debug)]
pub struct DestinationHashes<'h> {
    /// The rules.
    pub rules: &'h DestinationRules,
    /// The caller.
    pub workload: &'h Workload,
    /// What it sees.
    pub scope: &'h SidecarScope,
}

impl HashLookup for DestinationHashes<'_> {
    fn hash(
        &self,
        host: &str,
        subset: &str,
        port: u16,
        is_port_named: bool,
    ) -> Option<ConsistentHash> {
        let mut listeners = self.scope.listeners().iter();
        let service = listeners.find_map(|listener| listener.service(host))?;
        let rule = self.rules.find(self.workload, service)?;
        let of_subset = Policy::subset(rule, subset).and_then(|it| it.traffic_policy.as_ref());
        let levels = [of_subset, rule.traffic_policy.as_ref()];
        let port = Some(port).filter(|_| is_port_named);
        levels
            .into_iter()
            .flatten()
            .find_map(|it| hash_of(it, port))
    }
}

fn hash_of(policy: &TrafficPolicy, port: Option<u16>) -> Option<ConsistentHash> {
    let mut ports = policy.port_level_settings.iter();
    let of_port = ports.find(|settings| Some(settings.port) == port);
    let of_port = of_port.and_then(|settings| settings.load_balancer.as_ref());
    let hash = |it: &LoadBalancer| it.consistent_hash.clone();
    let of_policy = || policy.load_balancer.as_ref().and_then(hash);
    of_port.and_then(hash).or_else(of_policy)
}
