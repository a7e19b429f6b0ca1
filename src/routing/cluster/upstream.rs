//! One cluster.

use std::sync::Arc;
use std::time::Duration;

use crate::istio::traffic::{FractionalPercent, HashAlgorithm, HashKey, SimpleLb};
use crate::routing::balance::{
    self, BalanceSettings, Locality, LocalityBalancing, OutlierDetection, RetryBudget, WarmUp,
    ZoneAware,
};
use crate::routing::destination_rule::Policy;
use crate::routing::endpoints::{LocalityGroup, LocalitySetting};
use crate::routing::route::ClusterName;
use crate::routing::services::{Service, ServicePort};

use super::connections::Connections;
use super::tls::UpstreamTls;

/// A port of a service, or of a subset of it, as one workload calls it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamCluster {
    /// `outbound|PORT|SUBSET|HOST`.
    pub name: ClusterName,
    /// The service.
    pub service: Arc<Service>,
    /// Its port.
    pub port: ServicePort,
    /// How it is called.
    pub discovery: Discovery,
    /// What the DestinationRule says.
    pub policy: Policy,
    /// Limits and times of its connections.
    pub connections: Connections,
    /// What is done with localities.
    pub locality: LocalitySetting,
    /// TLS.
    pub tls: UpstreamTls,
    /// Its endpoints; none where calls go to an address that the caller has resolved, or the host
    /// of each call is resolved.
    pub groups: Vec<LocalityGroup>,
}

/// How the addresses of a cluster are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discovery {
    /// They are those of its endpoints.
    Endpoints,
    /// The caller has resolved one: resolution NONE, headless Services, `PASSTHROUGH`.
    OriginalDestination,
    /// All addresses of all names, resolved again when their time to live ends; after a failure in
    /// `refresh`.
    StrictDns {
        /// MeshConfig `dnsRefreshRate`, 60 s by default.
        refresh: Duration,
    },
    /// The first address of one name, for each new connection.
    LogicalDns {
        /// As before.
        refresh: Duration,
    },
    /// The host that the call names is resolved.
    DynamicDns,
}

impl UpstreamCluster {
    /// How its endpoints are picked. Zone-aware routing needs to know our own service's endpoints,
    /// `callers`, by locality.
    #[must_use]
    pub fn balance_settings(
        &self,
        here: &Locality,
        callers: &[(Locality, usize)],
    ) -> BalanceSettings {
        let balancer = self.policy.load_balancer.as_ref();
        let hash = balancer.and_then(|it| it.consistent_hash.as_ref());
        let policy = match (
            hash.map(|hash| hash.algorithm),
            balancer.map(|it| it.simple),
        ) {
            (Some(HashAlgorithm::RingHash(minimum_size)), _) => {
                balance::Policy::RingHash { minimum_size }
            }
            (Some(HashAlgorithm::Maglev(size)), _) => balance::Policy::Maglev {
                table_size: u32::try_from(size).unwrap_or(u32::MAX),
            },
            (None, Some(SimpleLb::Random)) => balance::Policy::Random,
            (None, Some(SimpleLb::RoundRobin)) => balance::Policy::RoundRobin,
            (None, _) => balance::Policy::LeastRequest,
        };
        let warmup = balancer.and_then(|it| it.warmup);
        let warm_up = warmup.map(|warmup| {
            let mut warm_up = WarmUp::new(warmup.duration);
            if let Some(minimum) = warmup.minimum_percent {
                warm_up.minimum_percent = percent(minimum);
            }
            if let Some(thousandths) = warmup.aggression_thousandths {
                warm_up.aggression = f64::from(thousandths) / 1000.0;
            }
            warm_up
        });
        let localities = match &self.locality {
            LocalitySetting::ZoneAware(setting) if setting.enabled != Some(false) => {
                let minimum = setting.min_cluster_size.unwrap_or(6);
                LocalityBalancing::ZoneAware(ZoneAware {
                    here: here.clone(),
                    callers: callers.to_vec(),
                    minimum_cluster_size: usize::try_from(minimum).unwrap_or(usize::MAX),
                })
            }
            _ if self.is_locality_weighted() => LocalityBalancing::Weighted,
            _ => LocalityBalancing::Pooled,
        };
        BalanceSettings {
            policy,
            panic_threshold: self.panic_threshold(),
            warm_up,
            localities,
        }
    }

    /// What is hashed where endpoints are picked by hash.
    #[must_use]
    pub fn hash_key(&self) -> Option<&HashKey> {
        let balancer = self.policy.load_balancer.as_ref()?;
        balancer.consistent_hash.as_ref().map(|hash| &hash.key)
    }

    /// What makes an endpoint an outlier; `None`: nothing does.
    #[must_use]
    pub fn outlier_detection(&self) -> Option<OutlierDetection> {
        let written = self.policy.outlier_detection.as_ref()?;
        let default = OutlierDetection::default();
        Some(OutlierDetection {
            consecutive_5xx_errors: written
                .consecutive_5xx_errors
                .unwrap_or(default.consecutive_5xx_errors),
            consecutive_gateway_errors: written.consecutive_gateway_errors.unwrap_or_default(),
            splits_local_origin_errors: written.split_external_local_origin_errors,
            consecutive_local_origin_failures: written
                .consecutive_local_origin_failures
                .filter(|failures| *failures > 0)
                .unwrap_or(default.consecutive_local_origin_failures),
            interval: written.interval.unwrap_or(default.interval),
            base_ejection_time: written
                .base_ejection_time
                .unwrap_or(default.base_ejection_time),
            max_ejection_percent: written
                .max_ejection_percent
                .map_or(default.max_ejection_percent, whole_percent),
        })
    }

    /// How many retries may be under way, in place of the threshold; `None`: the threshold holds.
    #[must_use]
    pub fn retry_budget(&self) -> Option<RetryBudget> {
        let budget = self.policy.retry_budget?;
        let share = budget.percent.map_or(20.0, percent);
        Some(RetryBudget::new(
            share,
            budget.min_retry_concurrency.unwrap_or(3),
        ))
    }

    /// The part of well endpoints, in percent, below which ill ones get calls too; 0: never.
    #[must_use]
    pub fn panic_threshold(&self) -> u32 {
        let detection = self.policy.outlier_detection.as_ref();
        detection.map_or(0, |it| whole_percent(it.min_health_percent))
    }

    /// Whether a locality is drawn by weight before an endpoint.
    #[must_use]
    pub fn is_locality_weighted(&self) -> bool {
        let detects = self.policy.outlier_detection.is_some();
        self.locality.is_weighted(detects)
    }
}

fn percent(share: FractionalPercent) -> f64 {
    f64::from(share.millionths()) / 10_000.0
}

fn whole_percent(share: FractionalPercent) -> u32 {
    share.millionths() / 10_000
}
