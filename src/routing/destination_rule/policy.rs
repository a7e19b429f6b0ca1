//! What a rule says of a port and a subset.

use crate::istio::traffic::{
    ClientTls, ConnectionPool, DestinationRule, LoadBalancer, MeshTraffic, OutlierDetection,
    RetryBudget, Subset, TrafficPolicy,
};

/// The blocks of `trafficPolicy` that hold for a port of a service, or of a subset of it.
///
/// Blocks are inherited whole, never by field: from the rule, then its `portLevelSettings`, then the
/// subset, then the subset's `portLevelSettings`. Settings of a port **replace** `loadBalancer`,
/// `connectionPool`, `outlierDetection` and `tls` of all before: what they leave out is the default.
/// MeshConfig's `defaultTrafficPolicy` is under the rule's level, where that has no block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// `loadBalancer`.
    pub load_balancer: Option<LoadBalancer>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`.
    pub tls: Option<ClientTls>,
    /// `retryBudget`, which no port has, and which is lost where settings of a port match.
    pub retry_budget: Option<RetryBudget>,
    /// Whether `outlierDetection` is of the rule and not MeshConfig's: with the latter endpoints
    /// have no priorities by locality.
    pub detects_by_rule: bool,
}

impl Policy {
    /// The policy of a port, and of a subset unless it is empty.
    #[must_use]
    pub fn new(
        rule: Option<&DestinationRule>,
        subset: &str,
        port: u16,
        mesh: &MeshTraffic,
    ) -> Self {
        let of_rule = rule.and_then(|rule| rule.traffic_policy.as_ref());
        let mut policy = of_rule.map_or_else(Self::default, |of_rule| level(of_rule, port).0);
        policy.detects_by_rule = policy.outlier_detection.is_some();
        let defaults = (
            &mesh.default_connection_pool,
            &mesh.default_outlier_detection,
        );
        policy.connection_pool = policy.connection_pool.or_else(|| defaults.0.clone());
        policy.outlier_detection = policy.outlier_detection.or_else(|| defaults.1.clone());
        let of_subset = rule.and_then(|rule| Self::subset(rule, subset));
        if let Some(of_subset) = of_subset.and_then(|it| it.traffic_policy.as_ref()) {
            policy.override_with(of_subset, port);
        }
        policy
    }

    /// The subset of a name; none where that is empty.
    pub(in crate::routing) fn subset<'r>(
        rule: &'r DestinationRule,
        name: &str,
    ) -> Option<&'r Subset> {
        let mut subsets = rule.subsets.iter();
        subsets.find(|subset| !name.is_empty() && subset.name.as_str() == name)
    }

    fn override_with(&mut self, policy: &TrafficPolicy, port: u16) {
        let (own, is_of_port) = level(policy, port);
        if own.outlier_detection.is_some() || is_of_port {
            self.detects_by_rule = own.outlier_detection.is_some();
            self.outlier_detection = own.outlier_detection;
        }
        if own.load_balancer.is_some() || is_of_port {
            self.load_balancer = own.load_balancer;
        }
        if own.connection_pool.is_some() || is_of_port {
            self.connection_pool = own.connection_pool;
        }
        if own.tls.is_some() || is_of_port {
            self.tls = own.tls;
        }
        self.retry_budget = own.retry_budget.or(self.retry_budget);
    }
}

/// One level's blocks, and whether they are those of the port.
fn level(policy: &TrafficPolicy, port: u16) -> (Policy, bool) {
    let mut ports = policy.port_level_settings.iter();
    match ports.find(|settings| settings.port == port) {
        Some(of_port) => {
            let blocks = Policy {
                load_balancer: of_port.load_balancer.clone(),
                connection_pool: of_port.connection_pool.clone(),
                outlier_detection: of_port.outlier_detection.clone(),
                tls: of_port.tls.clone(),
                ..Policy::default()
            };
            (blocks, true)
        }
        None => {
            let blocks = Policy {
                load_balancer: policy.load_balancer.clone(),
                connection_pool: policy.connection_pool.clone(),
                outlier_detection: policy.outlier_detection.clone(),
                tls: policy.tls.clone(),
                retry_budget: policy.retry_budget,
                detects_by_rule: false,
            };
            (blocks, false)
        }
    }
}
