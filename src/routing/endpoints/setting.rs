//! Which setting of localities holds.

use crate::istio::traffic::{
    LoadBalancer, LocalityLbSetting, MeshTraffic, TrafficDistribution, ZoneAwareLbSetting,
};
use crate::routing::services::{Service, ServiceSource};

/// What is done with localities: that of the DestinationRule, else the service's traffic
/// distribution, else the mesh's. On one level `zoneAwareLbSetting` comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalitySetting {
    /// Nothing: `enabled: false`.
    Off,
    /// `localityLbSetting`; without a word of it that of the mesh, which is on.
    Locality(LocalityLbSetting),
    /// `trafficDistribution`: priorities by these labels, also without outlier detection.
    Distribution(TrafficDistribution),
    /// `zoneAwareLbSetting`; also where it says `enabled: false`.
    ZoneAware(ZoneAwareLbSetting),
}

impl LocalitySetting {
    /// The setting for a service that is balanced so.
    #[must_use]
    pub fn new(balancer: Option<&LoadBalancer>, service: &Service, mesh: &MeshTraffic) -> Self {
        let of_rule = balancer.and_then(|balancer| {
            let zone_aware = balancer.zone_aware_lb_setting.clone().map(Self::ZoneAware);
            let locality = balancer.locality_lb_setting.clone().map(Self::locality);
            zone_aware.or(locality)
        });
        let of_service = || match distribution(service) {
            None | Some(TrafficDistribution::Any) => None,
            Some(distribution) => Some(Self::Distribution(distribution)),
        };
        let zones_of_mesh = || mesh.zone_aware_lb_setting.clone().map(Self::ZoneAware);
        let of_mesh = || Self::locality(mesh.locality_lb_setting.clone().unwrap_or_default());
        let found = of_rule.or_else(of_service).or_else(zones_of_mesh);
        found.unwrap_or_else(of_mesh)
    }

    /// Whether localities are drawn by weight before endpoints: with `distribute`, and, where
    /// endpoints have priorities at all, with `failover` and `failoverPriority`.
    #[must_use]
    pub fn is_weighted(&self, has_outlier_detection: bool) -> bool {
        match self {
            Self::Off | Self::ZoneAware(_) => false,
            Self::Distribution(_) => true,
            Self::Locality(setting) => {
                let has_failover =
                    !setting.failover.is_empty() || !setting.failover_priority.is_empty();
                !setting.distribute.is_empty() || (has_outlier_detection && has_failover)
            }
        }
    }

    fn locality(setting: LocalityLbSetting) -> Self {
        match setting.enabled {
            Some(false) => Self::Off,
            _ => Self::Locality(setting),
        }
    }
}

fn distribution(service: &Service) -> Option<TrafficDistribution> {
    match &service.source {
        ServiceSource::Kubernetes(service) => service.traffic_distribution,
        ServiceSource::Entry(entry) => entry.traffic_distribution,
    }
}
