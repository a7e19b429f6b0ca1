//! The priorities of endpoints by where they are: DestinationRule `failover` and what it goes with.

use super::label_chain::{LabelChain, Labels};

/// `failover`: when all endpoints of our region are ill, this region is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverRule {
    /// The region that calls come from.
    pub from: Box<str>,
    /// The region that they go to next.
    pub to: Box<str>,
}

/// How endpoints get their priorities.
///
/// Whether there are any is not decided here: Istio has none without `outlierDetection`, except by
/// traffic distribution, and none with `distribute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalityPriorities {
    /// All endpoints have one priority.
    None,
    /// By locality: 0 for the same part of a zone, 1 for the same zone, 2 for the same region, 3 for
    /// others. A rule for our region makes its `to` 3 and all others 4. Without rules this is what
    /// Istio does by default.
    Failover(Box<[FailoverRule]>),
    /// By `failoverPriority`. With rules of `failover` too, the priority is five times that by labels
    /// (compacted), and that by locality on top.
    Labels(LabelChain, Box<[FailoverRule]>),
    /// Zone-aware routing: our region first, then all others.
    SameRegion,
}

impl LocalityPriorities {
    /// The priority of each of these endpoints for us, without gaps; 0 is the highest.
    #[must_use]
    pub fn of(&self, ours: &Labels<'_>, endpoints: &[Labels<'_>]) -> Vec<u32> {
        let by_locality = |rules: &[FailoverRule]| -> Vec<u32> {
            endpoints
                .iter()
                .map(|it| distance(rules, ours, it))
                .collect()
        };
        let mut priorities = match self {
            Self::None => vec![0; endpoints.len()],
            Self::Failover(rules) => by_locality(rules),
            Self::Labels(chain, rules) => {
                let by_labels = endpoints
                    .iter()
                    .map(|endpoint| chain.priority(ours, endpoint));
                let mut priorities: Vec<_> = by_labels.collect();
                if !rules.is_empty() {
                    compact(&mut priorities);
                    for (priority, distance) in priorities.iter_mut().zip(by_locality(rules)) {
                        *priority = *priority * DISTANCES + distance;
                    }
                }
                priorities
            }
            Self::SameRegion => {
                let is_elsewhere =
                    |it: &Labels<'_>| u32::from(it.locality.region != ours.locality.region);
                endpoints.iter().map(is_elsewhere).collect()
            }
        };
        compact(&mut priorities);
        priorities
    }
}

/// Closes the gaps: the lowest number becomes 0, the next 1, and so on. Returns how many there are.
pub fn compact(priorities: &mut [u32]) -> usize {
    let mut distinct = priorities.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    for priority in priorities {
        let rank = distinct.partition_point(|other| other < priority);
        *priority = u32::try_from(rank).unwrap_or(u32::MAX);
    }
    distinct.len()
}

fn distance(rules: &[FailoverRule], ours: &Labels<'_>, endpoint: &Labels<'_>) -> u32 {
    let distance = ours.locality.distance(endpoint.locality);
    // The first rule for our region decides, as in Istio's `applyLocalityFailover`.
    let rule = rules.iter().find(|rule| rule.from == ours.locality.region);
    match rule {
        Some(rule) if distance == 3 && rule.to != endpoint.locality.region => 4,
        _ => distance,
    }
}

/// How many distances there are: 0 to 4.
const DISTANCES: u32 = 5;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::place::Locality;
    use super::*;

    fn of(priorities: &LocalityPriorities, endpoints: &[(&str, &str)]) -> Vec<u32> {
        let labels = |text: &str| -> BTreeMap<String, String> {
            let pairs = text
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='));
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let read = |(place, text): &(&str, &str)| (Locality::from_text(place), labels(text));
        let places: Vec<_> = endpoints.iter().map(read).collect();
        let view = |(locality, labels)| Labels {
            locality,
            network: "",
            labels,
        };
        let theirs: Vec<_> = places
            .iter()
            .map(|(place, labels)| view((place, labels)))
            .collect();
        let (here, labels) = read(&("us/a/1", "v=1 t=x"));
        priorities.of(&view((&here, &labels)), &theirs)
    }

    const EVERYWHERE: [(&str, &str); 6] = [
        ("us/a/1", ""),
        ("us/a/2", ""),
        ("us/b/1", ""),
        ("us/c/1", ""),
        ("eu/a/1", ""),
        ("ap/a/1", ""),
    ];

    fn to_eu() -> Box<[FailoverRule]> {
        let rule = |from: &str, to: &str| FailoverRule {
            from: from.into(),
            to: to.into(),
        };
        // Only the first one of our region counts.
        [rule("ap", "us"), rule("us", "eu"), rule("us", "ap")].into()
    }

    /// `loc-failover` and `loc-od` of Istio's generator.
    #[test]
    fn endpoints_fail_over_from_near_to_far() {
        let explicit = LocalityPriorities::Failover(to_eu());
        assert_eq!(of(&explicit, &EVERYWHERE), [0, 1, 2, 2, 3, 4]);
        let default = LocalityPriorities::Failover([].into());
        assert_eq!(of(&default, &EVERYWHERE), [0, 1, 2, 2, 3, 3]);
        assert_eq!(of(&LocalityPriorities::None, &EVERYWHERE), [0; 6]);
    }

    /// `loc-failover-compact`.
    #[test]
    fn priorities_have_no_gaps() {
        let explicit = LocalityPriorities::Failover(to_eu());
        assert_eq!(of(&explicit, &[("us/b/1", ""), ("eu/a/1", "")]), [0, 1]);
        assert_eq!(of(&explicit, &[("ap/b/1", "")]), [0]);
        assert_eq!(of(&explicit, &[]), [0; 0]);
        let mut priorities = [7, 3, 7, 9];
        assert_eq!(compact(&mut priorities), 3);
        assert_eq!(priorities, [1, 0, 1, 2]);
    }

    /// `loc-fprio` and `loc-fprio-failover`.
    #[test]
    fn labels_and_localities_compose() {
        let endpoints = [
            ("us/a/1", "v=1 t=x"),
            ("us/a/1", "v=1 t=z"),
            ("us/b/1", "v=2 t=x"),
            ("eu/a/1", "v=1 t=x"),
        ];
        let chain = || LabelChain::new(["v", "t"]);
        let labels = LocalityPriorities::Labels(chain(), [].into());
        assert_eq!(of(&labels, &endpoints), [0, 1, 2, 0]);
        let both = LocalityPriorities::Labels(chain(), to_eu());
        assert_eq!(of(&both, &endpoints), [0, 2, 3, 1]);
    }

    /// `loc-fprio-override`.
    #[test]
    fn a_value_of_the_chain_decides() {
        let endpoints = [
            ("us/a/1", "v=1 t=x"),
            ("us/a/1", "v=1 t=z"),
            ("us/b/1", "v=2 t=x"),
            ("eu/a/1", "v=1 t=x"),
        ];
        let labels = LocalityPriorities::Labels(LabelChain::new(["v=2", "t"]), [].into());
        assert_eq!(of(&labels, &endpoints), [1, 1, 0, 1]);
    }

    /// `loc-zoneaware`, as Istio's development line has it.
    #[test]
    fn zone_aware_routing_has_our_region_first() {
        assert_eq!(
            of(&LocalityPriorities::SameRegion, &EVERYWHERE),
            [0, 0, 0, 0, 1, 1]
        );
    }
}
