//! Endpoints by locality and priority, as one caller prefers them.

use std::collections::BTreeMap;

use crate::istio::traffic::{self, LocalityFailover, LocalityLbSetting, ZoneAwareLbSetting};
use crate::routing::balance::{
    Distribute, FailoverRule, LabelChain, Labels, Locality, LocalityPriorities,
    TrafficDistribution, compact,
};

use super::endpoint::Endpoint;
use super::setting::LocalitySetting;

/// Endpoints of one locality and priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityGroup {
    /// Where they are.
    pub locality: traffic::Locality,
    /// 0 is the highest.
    pub priority: u32,
    /// The sum of their weights, or what `distribute` gives to the locality.
    pub weight: u32,
    /// None in a locality that `distribute` leaves out.
    pub endpoints: Vec<Endpoint>,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'c> {
    /// Where it runs.
    pub locality: &'c traffic::Locality,
    /// Its network, or empty.
    pub network: &'c str,
    /// Its labels.
    pub labels: &'c BTreeMap<String, String>,
}

impl LocalityGroup {
    /// The groups of these endpoints by a setting, ordered by locality, then by priority.
    ///
    /// With `detects_outliers` endpoints have priorities by `failoverPriority`, else by how far they
    /// are; without, only by traffic distribution and zone-aware routing. `distribute` excludes
    /// priorities.
    #[must_use]
    pub fn all(
        endpoints: Vec<Endpoint>,
        setting: &LocalitySetting,
        caller: &Caller<'_>,
        detects_outliers: bool,
    ) -> Vec<Self> {
        let mut by_locality: BTreeMap<String, Self> = BTreeMap::new();
        for endpoint in endpoints {
            let key = endpoint.locality.to_string();
            let group = by_locality.entry(key).or_insert_with(|| Self {
                locality: endpoint.locality.clone(),
                priority: 0,
                weight: 0,
                endpoints: Vec::new(),
            });
            group.weight = group.weight.saturating_add(endpoint.weight);
            group.endpoints.push(endpoint);
        }
        let groups = by_locality.into_values().collect();
        match setting {
            LocalitySetting::Off => groups,
            LocalitySetting::Locality(setting) if !setting.distribute.is_empty() => {
                distribute(groups, setting, caller)
            }
            LocalitySetting::Locality(_) if !detects_outliers => groups,
            LocalitySetting::Locality(setting) => {
                let rules = rules(&setting.failover);
                let priorities = match setting.failover_priority.as_slice() {
                    [] => LocalityPriorities::Failover(rules),
                    labels => LocalityPriorities::Labels(chain(labels), rules),
                };
                split(groups, |all| {
                    priorities.of(&labels_of(caller, &here(caller)), all)
                })
            }
            LocalitySetting::Distribution(distribution) => {
                let distribution = match distribution {
                    traffic::TrafficDistribution::PreferSameNode => {
                        TrafficDistribution::PreferSameNode
                    }
                    _ => TrafficDistribution::PreferSameZone,
                };
                let chain = LabelChain::for_traffic_distribution(distribution);
                let priorities = LocalityPriorities::Labels(chain, [].into());
                split(groups, |all| {
                    priorities.of(&labels_of(caller, &here(caller)), all)
                })
            }
            LocalitySetting::ZoneAware(setting) if setting.enabled == Some(false) => groups,
            LocalitySetting::ZoneAware(setting) => {
                split(groups, |all| zone_priorities(setting, caller, all))
            }
        }
    }
}

fn here(caller: &Caller<'_>) -> Locality {
    balanced(caller.locality)
}

fn labels_of<'l>(caller: &Caller<'l>, locality: &'l Locality) -> Labels<'l> {
    Labels {
        locality,
        network: caller.network,
        labels: caller.labels,
    }
}

fn balanced(locality: &traffic::Locality) -> Locality {
    Locality {
        region: locality.region.as_str().into(),
        zone: locality.zone.as_str().into(),
        sub_zone: locality.subzone.as_str().into(),
    }
}

fn chain(labels: &[crate::istio::Text]) -> LabelChain {
    LabelChain::new(labels.iter().map(|label| label.as_str()))
}

fn rules(failover: &[LocalityFailover]) -> Box<[FailoverRule]> {
    let rules = failover.iter().map(|rule| FailoverRule {
        from: rule.from.as_str().into(),
        to: rule.to.as_str().into(),
    });
    rules.collect()
}

/// Weights by `distribute`. Validation refuses what makes no weights; here that gives none.
fn distribute(
    mut groups: Vec<LocalityGroup>,
    setting: &LocalityLbSetting,
    caller: &Caller<'_>,
) -> Vec<LocalityGroup> {
    let rules = setting.distribute.iter().filter_map(|rule| {
        let to = rule.to.iter().map(|(to, weight)| (to.as_str(), *weight));
        Distribute::new(&rule.from, to).ok()
    });
    let rules: Vec<_> = rules.collect();
    let localities = groups.iter().map(|it| (balanced(&it.locality), it.weight));
    let localities: Vec<_> = localities.collect();
    let weights = Distribute::weights(&rules, &here(caller), &localities);
    for (group, weight) in groups.iter_mut().zip(weights) {
        match weight {
            0 => group.endpoints.clear(),
            weight => group.weight = weight,
        }
    }
    groups
}

/// Parts each locality by the priorities of its endpoints.
fn split(
    groups: Vec<LocalityGroup>,
    priorities: impl FnOnce(&[Labels<'_>]) -> Vec<u32>,
) -> Vec<LocalityGroup> {
    let localities: Vec<_> = groups.iter().map(|it| balanced(&it.locality)).collect();
    let all = groups
        .iter()
        .zip(&localities)
        .flat_map(|(group, locality)| {
            group.endpoints.iter().map(move |endpoint| Labels {
                locality,
                network: &endpoint.network,
                labels: &endpoint.labels,
            })
        });
    let mut priorities = priorities(&all.collect::<Vec<_>>()).into_iter();
    let mut parted = Vec::new();
    for group in groups {
        let mut by_priority: BTreeMap<u32, LocalityGroup> = BTreeMap::new();
        for endpoint in group.endpoints {
            let priority = priorities.next().unwrap_or_default();
            let part = by_priority
                .entry(priority)
                .or_insert_with(|| LocalityGroup {
                    locality: group.locality.clone(),
                    priority,
                    weight: 0,
                    endpoints: Vec::new(),
                });
            part.weight = part.weight.saturating_add(endpoint.weight);
            part.endpoints.push(endpoint);
        }
        parted.extend(by_priority.into_values());
    }
    parted
}

/// Our region first, then that of `failover`, then the others; `failoverPriority` before all that.
fn zone_priorities(
    setting: &ZoneAwareLbSetting,
    caller: &Caller<'_>,
    endpoints: &[Labels<'_>],
) -> Vec<u32> {
    let here = here(caller);
    let ours = labels_of(caller, &here);
    let chain = chain(&setting.failover_priority);
    let of_labels = endpoints.iter().map(|it| chain.priority(&ours, it));
    let mut priorities: Vec<u32> = of_labels.collect();
    compact(&mut priorities);
    let mut rules = setting.failover.iter();
    let rule = rules.find(|rule| rule.from.as_str() == &*here.region);
    for (priority, endpoint) in priorities.iter_mut().zip(endpoints) {
        let region = &endpoint.locality.region;
        let bucket = match rule {
            _ if *region == here.region => 0,
            Some(rule) if rule.to.as_str() == &**region => 1,
            _ => 2,
        };
        *priority = *priority * 3 + bucket;
    }
    compact(&mut priorities);
    priorities
}
