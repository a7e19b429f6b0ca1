//! Which rule: namespaces first, then hosts, then selectors.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::Text;
use crate::istio::traffic::DestinationRule;
use crate::routing::host::{host_contains, is_wildcard, resolve_host};
use crate::routing::services::Service;

/// All DestinationRules, those of one host, namespace, `exportTo` and selector merged.
///
/// The oldest of them is the base: subsets of new names are added to it, and the `trafficPolicy` of
/// a younger one counts only where the base has none (Istio's `mergeDestinationRule`).
#[derive(Clone, Debug, Default)]
pub struct DestinationRules {
    rules: Vec<Merged>,
    root_namespace: String,
}

#[derive(Clone, Debug)]
struct Merged {
    /// The full name of the host.
    host: String,
    /// `exportTo` as written.
    exports: BTreeSet<String>,
    /// Whether it is for its own namespace only.
    is_private: bool,
    rule: Arc<DestinationRule>,
}

impl DestinationRules {
    /// The rules of a mesh. `default_export` is MeshConfig's `defaultDestinationRuleExportTo`.
    #[must_use]
    pub fn new(
        rules: &[Arc<DestinationRule>],
        default_export: &[Text],
        domain: &str,
        root_namespace: &str,
    ) -> Self {
        let mut sorted: Vec<_> = rules.iter().collect();
        sorted.sort_by_key(|rule| {
            let meta = &rule.meta;
            (
                rule.workload_selector.is_none(),
                &meta.created,
                &meta.name,
                &meta.namespace,
            )
        });
        let is_private_by_default = default_export.iter().any(|text| text.as_str() == ".");
        let mut all = Self {
            rules: Vec::new(),
            root_namespace: root_namespace.to_owned(),
        };
        for rule in sorted {
            let names = rule.export_to.iter().map(|text| text.as_str().to_owned());
            let exports: BTreeSet<String> = names.collect();
            let is_own = |name: &str| name == "." || name == rule.meta.namespace;
            let is_private = match exports.first() {
                None => is_private_by_default,
                Some(only) => exports.len() == 1 && is_own(only),
            };
            all.add(Merged {
                host: resolve_host(&rule.host, &rule.meta.namespace, domain).into_owned(),
                exports,
                is_private,
                rule: Arc::clone(rule),
            });
        }
        all
    }

    fn add(&mut self, incoming: Merged) {
        let mut rules = self.rules.iter_mut();
        let base = rules.find(|base| {
            base.host == incoming.host
                && base.rule.meta.namespace == incoming.rule.meta.namespace
                && base.exports == incoming.exports
                && has_same_selector(&base.rule, &incoming.rule)
        });
        let Some(base) = base else {
            self.rules.push(incoming);
            return;
        };
        let merged = Arc::make_mut(&mut base.rule);
        for subset in &incoming.rule.subsets {
            if !merged.subsets.iter().any(|known| known.name == subset.name) {
                merged.subsets.push(subset.clone());
            }
        }
        if merged.traffic_policy.is_none() {
            merged
                .traffic_policy
                .clone_from(&incoming.rule.traffic_policy);
        }
    }

    /// The rule for calls of a workload to a service.
    ///
    /// Three namespaces are asked in turn: the caller's, the service's, the root namespace. In the
    /// caller's own all count that do not name other namespaces only; a caller in the root
    /// namespace starts with its private ones. In the other two those count that are exported at
    /// all. In each the most specific host decides, and the first namespace that has any ends the
    /// search, unless none of its rules for that host is exported to the caller.
    ///
    /// Of those left, the first whose `workloadSelector` fits the caller wins, if it is of its own
    /// namespace; else the newest without a selector.
    #[must_use]
    pub fn find(&self, workload: &Workload, service: &Service) -> Option<&Arc<DestinationRule>> {
        let own = workload.namespace();
        let is_in_root = own == self.root_namespace;
        let local = self.most_specific(&service.host, |merged| {
            merged.rule.meta.namespace == own
                && merged.is_for(own)
                && (!is_in_root || merged.is_private)
        });
        if !local.is_empty() {
            return choose(&local, workload);
        }
        for namespace in [service.namespace.as_str(), &self.root_namespace] {
            let mut exported = self.most_specific(&service.host, |merged| {
                merged.rule.meta.namespace == namespace && !merged.is_private
            });
            exported.retain(|merged| merged.exports.is_empty() || merged.names(&["*", own]));
            if !exported.is_empty() {
                return choose(&exported, workload);
            }
        }
        None
    }

    /// All rules of the most specific host, of those that pass.
    fn most_specific(&self, host: &str, passes: impl Fn(&Merged) -> bool) -> Vec<&Merged> {
        let fits = |merged: &&Merged| match is_wildcard(&merged.host) {
            true => host_contains(&merged.host, host),
            false => merged.host == host,
        };
        let all = self.rules.iter().filter(|merged| passes(merged));
        let mut fitting: Vec<_> = all.filter(fits).collect();
        // A name that fits is the longest: a wildcard stands for more than its own suffix.
        let rank = |merged: &Merged| (!is_wildcard(&merged.host), merged.host.len());
        if let Some(best) = fitting.iter().map(|merged| rank(merged)).max() {
            fitting.retain(|merged| rank(merged) == best);
        }
        fitting
    }
}

impl Merged {
    /// Whether workloads of its own namespace see it.
    fn is_for(&self, own: &str) -> bool {
        self.exports.is_empty() || self.names(&["*", ".", own])
    }

    fn names(&self, any: &[&str]) -> bool {
        any.iter().any(|name| self.exports.contains(*name))
    }
}

fn has_same_selector(one: &DestinationRule, other: &DestinationRule) -> bool {
    let labels = |rule: &DestinationRule| {
        let selector = rule.workload_selector.as_ref();
        selector.map(|selector| selector.match_labels.clone())
    };
    labels(one) == labels(other)
}

fn choose<'r>(rules: &[&'r Merged], workload: &Workload) -> Option<&'r Arc<DestinationRule>> {
    let selects = |rule: &DestinationRule| {
        let selector = rule.workload_selector.as_ref();
        rule.meta.namespace == workload.namespace()
            && selector.is_some_and(|selector| {
                let mut labels = selector.match_labels.iter();
                labels.all(|(key, value)| {
                    let own = workload.labels().get(key);
                    own.is_some_and(|own| own == value.as_str())
                })
            })
    };
    let selecting = rules.iter().find(|merged| selects(&merged.rule));
    let for_all = || {
        let mut newest_first = rules.iter().rev();
        newest_first.find(|merged| merged.rule.workload_selector.is_none())
    };
    selecting.or_else(for_all).map(|merged| &merged.rule)
}
