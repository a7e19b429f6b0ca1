//! Checks DestinationRules beside each other.

use std::collections::BTreeMap;

use super::view::View;
use crate::istio::Meta;
use crate::istio::traffic::{DestinationRule, TrafficPolicy};
use crate::vet::Code;
use crate::vet::report::note::name_and_place;
use crate::vet::report::notes::Notes;

/// Adds notes about the second of two policies for the same calls.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    let rules = view.traffic().destination_rules.iter();
    let mut rules: Vec<&DestinationRule> = rules.map(|rule| &**rule).collect();
    rules.sort_by_key(|rule| age(&rule.meta));
    let mut first: BTreeMap<_, &Meta> = BTreeMap::new();
    for rule in rules {
        let Some(policy) = &rule.traffic_policy else {
            continue;
        };
        let selector = rule.workload_selector.as_ref();
        let labels = selector.map(|it| {
            let labels = it.match_labels.iter();
            labels
                .map(|(key, value)| (key, value.as_str()))
                .collect::<Vec<_>>()
        });
        let host = view.full(&rule.host, &rule.meta);
        let of_whom = (&rule.meta.namespace, host, labels);
        match first.get(&of_whom) {
            Some(other) => twice(&rule.meta, policy, other, notes),
            None => {
                first.insert(of_whom, &rule.meta);
            }
        }
    }
}

fn twice(meta: &Meta, policy: &TrafficPolicy, other: &Meta, notes: &mut Notes) {
    let message = format!(
        "{} has a trafficPolicy for this host, too, and only one of the two counts, by their age, else their names",
        name_and_place(other)
    );
    let help = "write one trafficPolicy; subsets may stay in rules of their own";
    notes.add(Code::TrafficPolicyTwice, meta, &policy.at, message, help);
}

/// Istio's order: the oldest first, then by name.
fn age(meta: &Meta) -> impl Ord + use<'_> {
    (&meta.created, &meta.name, &meta.namespace)
}
