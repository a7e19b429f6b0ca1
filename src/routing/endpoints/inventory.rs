//! What endpoints are found in.

use std::collections::{BTreeMap, HashMap};

use crate::istio::traffic::{EndpointSlice, Node, Pod, TrafficResources, WorkloadEntry};
use crate::istio::{Selector, Text};

use super::endpoint::has_labels;

/// Pods, EndpointSlices, WorkloadEntries and nodes, by what services look for them.
#[derive(Clone, Debug, Default)]
pub struct Inventory<'r> {
    /// By namespace and service.
    slices: HashMap<&'r str, HashMap<&'r str, Vec<&'r EndpointSlice>>>,
    /// By namespace and name.
    pods: HashMap<(&'r str, &'r str), &'r Pod>,
    /// By namespace.
    pods_of: HashMap<&'r str, Vec<&'r Pod>>,
    /// By namespace, oldest first.
    entries: HashMap<&'r str, Vec<&'r WorkloadEntry>>,
    nodes: HashMap<&'r str, &'r Node>,
}

impl<'r> Inventory<'r> {
    /// The inventory of a configuration.
    #[must_use]
    pub fn new(resources: &'r TrafficResources) -> Self {
        let mut all = Self::default();
        for slice in &resources.endpoint_slices {
            if let Some(service) = &slice.service {
                let namespace = slice.meta.namespace.as_str();
                let of_namespace = all.slices.entry(namespace).or_default();
                of_namespace
                    .entry(service.as_str())
                    .or_default()
                    .push(slice);
            }
        }
        for pod in &resources.pods {
            let namespace = pod.meta.namespace.as_str();
            all.pods.insert((namespace, &pod.meta.name), pod);
            all.pods_of.entry(namespace).or_default().push(pod);
        }
        let mut entries: Vec<_> = resources.workload_entries.iter().collect();
        entries.sort_by_key(|entry| (&entry.meta.created, &entry.meta.name));
        for entry in entries {
            let namespace = entry.meta.namespace.as_str();
            all.entries.entry(namespace).or_default().push(entry);
        }
        for node in &resources.nodes {
            all.nodes.insert(&node.meta.name, node);
        }
        all
    }

    pub(super) fn slices(&self, namespace: &str, service: &str) -> &[&'r EndpointSlice] {
        let of_namespace = self.slices.get(namespace);
        let slices = of_namespace.and_then(|services| services.get(service));
        slices.map_or(&[], Vec::as_slice)
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<&'r Pod> {
        self.pods.get(&(namespace, name)).copied()
    }

    pub(super) fn node(&self, name: Option<&str>) -> Option<&'r Node> {
        self.nodes.get(name?).copied()
    }

    /// The pods that a selector selects, ready ones only.
    pub(super) fn selected_pods<'s>(
        &'s self,
        namespace: &str,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'r Pod> + 's {
        let pods = self.pods_of.get(namespace).into_iter().flatten().copied();
        pods.filter(|pod| {
            pod.is_ready
                && has_labels(&selector.match_labels, |key| {
                    pod.labels.get(key).map(|value| value.as_str())
                })
        })
    }

    /// The WorkloadEntries that labels select.
    pub(super) fn selected_entries<'s>(
        &'s self,
        namespace: &str,
        labels: &'s BTreeMap<String, Text>,
    ) -> impl Iterator<Item = &'r WorkloadEntry> + 's {
        let entries = self.entries.get(namespace).into_iter().flatten().copied();
        entries.filter(|entry| {
            has_labels(labels, |key| {
                entry.spec.labels.get(key).map(|value| value.as_str())
            })
        })
    }
}
