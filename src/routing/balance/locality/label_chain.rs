//! Preference by labels: DestinationRule `failoverPriority`, and Service traffic distribution.

use std::collections::BTreeMap;

use super::place::Locality;

/// Labels in the order of their weight: an endpoint that agrees with us on more of them, counted
/// from the first, is preferred.
///
/// The priority of an endpoint is `n −` the labels that agree before the first that does not, where
/// `n` is how many labels there are. `topology.istio.io/network` in first place is different: it
/// never ends the count, and an endpoint of another network moves down by `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelChain {
    labels: Box<[ChainLabel]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ChainLabel {
    name: Box<str>,
    /// What an endpoint must have instead of our own value.
    value: Option<Box<str>>,
}

/// The labels of an endpoint, or our own.
///
/// Those of topology come from what is known of the place: `topology.kubernetes.io/region` and
/// `/zone`, `topology.istio.io/subzone` and `/network`. A label that is missing is empty, and agrees
/// with one that is missing.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Where it is.
    pub locality: &'a Locality,
    /// The network that it is in, or empty.
    pub network: &'a str,
    /// All other labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// Service `trafficDistribution`, or the annotation `networking.istio.io/traffic-distribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrafficDistribution {
    /// Same zone first; `PreferClose` is the older name.
    PreferSameZone,
    /// Same node first, then same zone.
    PreferSameNode,
}

impl LabelChain {
    /// A chain of labels, each `name` or `name=value`.
    #[must_use]
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a str>) -> Self {
        // A value with another `=` is none, as for Istio.
        let label = |text: &str| match text.split_once('=') {
            Some((name, value)) => ChainLabel {
                name: name.into(),
                value: (!value.contains('=')).then(|| value.into()),
            },
            None => ChainLabel {
                name: text.into(),
                value: None,
            },
        };
        Self {
            labels: labels.into_iter().map(label).collect(),
        }
    }

    /// The chain of a traffic distribution.
    #[must_use]
    pub fn for_traffic_distribution(distribution: TrafficDistribution) -> Self {
        match distribution {
            TrafficDistribution::PreferSameZone => Self::new([NETWORK, REGION, ZONE]),
            TrafficDistribution::PreferSameNode => {
                Self::new([NETWORK, REGION, ZONE, SUB_ZONE, HOST_NAME])
            }
        }
    }

    /// The priority of an endpoint for us, not compacted: 0 is the best.
    #[must_use]
    pub fn priority(&self, ours: &Labels<'_>, endpoint: &Labels<'_>) -> u32 {
        let lowest = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        let mut priority = 0;
        for (agreed, label) in (0..).zip(&self.labels) {
            let wanted = label
                .value
                .as_deref()
                .unwrap_or_else(|| ours.value(&label.name));
            if wanted == endpoint.value(&label.name) {
                continue;
            }
            if agreed == 0 && &*label.name == NETWORK {
                priority = lowest;
                continue;
            }
            return priority + lowest - agreed;
        }
        priority
    }
}

impl Labels<'_> {
    fn value(&self, name: &str) -> &str {
        match name {
            REGION => &self.locality.region,
            ZONE => &self.locality.zone,
            SUB_ZONE => &self.locality.sub_zone,
            NETWORK => self.network,
            _ => self.labels.get(name).map_or("", String::as_str),
        }
    }
}

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUB_ZONE: &str = "topology.istio.io/subzone";
const NETWORK: &str = "topology.istio.io/network";
const HOST_NAME: &str = "kubernetes.io/hostname";

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(chain: &LabelChain, ours: (&str, &str, &str), theirs: (&str, &str, &str)) -> u32 {
        let labels = |text: &str| -> BTreeMap<String, String> {
            let pairs = text
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='));
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let our_place = (Locality::from_text(ours.0), labels(ours.2));
        let their_place = (Locality::from_text(theirs.0), labels(theirs.2));
        chain.priority(
            &Labels {
                locality: &our_place.0,
                network: ours.1,
                labels: &our_place.1,
            },
            &Labels {
                locality: &their_place.0,
                network: theirs.1,
                labels: &their_place.1,
            },
        )
    }

    /// Istio's generator: `failoverPriority: [v, t]`.
    #[test]
    fn labels_count_up_to_the_first_that_differs() {
        let chain = LabelChain::new(["v", "t"]);
        let ours = ("us/a/1", "", "v=1 t=x");
        for (labels, expected) in [
            ("v=1 t=x", 0),
            ("v=1 t=z", 1),
            ("v=1", 1),
            ("v=2 t=x", 2),
            ("t=x", 2),
        ] {
            assert_eq!(
                priority(&chain, ours, ("eu/a/1", "", labels)),
                expected,
                "{labels}"
            );
        }
    }

    #[test]
    fn a_value_in_the_chain_replaces_our_own() {
        let chain = LabelChain::new(["v=2", "t"]);
        let ours = ("us/a/1", "", "v=1 t=x");
        assert_eq!(priority(&chain, ours, ("", "", "v=2 t=x")), 0);
        assert_eq!(priority(&chain, ours, ("", "", "v=1 t=x")), 2);
        let empty = LabelChain::new(["v="]);
        assert_eq!(priority(&empty, ours, ("", "", "")), 0);
    }

    #[test]
    fn topology_comes_from_the_locality() {
        let chain = LabelChain::new([REGION, ZONE, SUB_ZONE]);
        let ours = ("us/a/1", "", "");
        for (there, expected) in [
            ("us/a/1", 0),
            ("us/a/2", 1),
            ("us/b/1", 2),
            ("us/c/1", 2),
            ("eu/a/1", 3),
        ] {
            assert_eq!(priority(&chain, ours, (there, "", "")), expected, "{there}");
        }
    }

    #[test]
    fn another_network_moves_down_without_ending_the_count() {
        let chain = LabelChain::for_traffic_distribution(TrafficDistribution::PreferSameZone);
        let ours = ("us/a/1", "n1", "");
        for (there, network, expected) in [
            ("us/a/2", "n1", 0),
            ("us/b/1", "n1", 1),
            ("eu/a/1", "n1", 2),
            ("us/a/2", "n2", 3),
            ("us/b/1", "n2", 4),
            ("eu/a/1", "n2", 5),
        ] {
            assert_eq!(
                priority(&chain, ours, (there, network, "")),
                expected,
                "{there} {network}"
            );
        }
        // In another place it is a label like all others.
        let later = LabelChain::new([REGION, NETWORK]);
        assert_eq!(priority(&later, ours, ("us", "n2", "")), 1);
    }

    #[test]
    fn the_same_node_comes_before_the_same_zone() {
        let chain = LabelChain::for_traffic_distribution(TrafficDistribution::PreferSameNode);
        let ours = ("us/a/1", "", "kubernetes.io/hostname=n1");
        for (there, labels, expected) in [
            ("us/a/1", "kubernetes.io/hostname=n1", 0),
            ("us/a/1", "kubernetes.io/hostname=n2", 1),
            ("us/a/2", "kubernetes.io/hostname=n1", 2),
            ("us/b/1", "", 3),
            ("eu/a/1", "", 4),
        ] {
            assert_eq!(
                priority(&chain, ours, (there, "", labels)),
                expected,
                "{there} {labels}"
            );
        }
    }
}
