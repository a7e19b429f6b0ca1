//! Endpoints of a ServiceEntry.

use std::collections::BTreeMap;

use crate::istio::traffic::{Locality, Resolution, ServiceEntry};
use crate::routing::services::{Service, ServicePort};

use super::endpoint::{AccountSource, Endpoint, EndpointAddress, EndpointHealth};
use super::inventory::Inventory;
use super::of_pod::of_pod;
use super::of_workload::of_workload;

pub(super) fn endpoints(
    inventory: &Inventory<'_>,
    entry: &ServiceEntry,
    service: &Service,
    port: &ServicePort,
) -> Vec<Endpoint> {
    let namespace = entry.meta.namespace.as_str();
    let mut ports = entry.ports.iter();
    let written = ports.find(|written| written.number == port.number);
    let target = written.and_then(|it| it.target_port).unwrap_or(port.number);
    let is_dns = matches!(
        entry.resolution,
        Resolution::Dns | Resolution::DnsRoundRobin
    );
    if matches!(entry.resolution, Resolution::None | Resolution::DynamicDns) {
        return Vec::new();
    }
    if let Some(selector) = &entry.workload_selector {
        let pods = inventory.selected_pods(namespace, selector);
        let pods = pods.filter_map(|pod| {
            let address = EndpointAddress::Ip(*pod.ips.first()?, target);
            Some(of_pod(inventory, pod, address))
        });
        let entries = inventory.selected_entries(namespace, &selector.match_labels);
        let entries =
            entries.filter_map(|it| of_workload(&it.spec, &it.meta.namespace, &port.name, target));
        return pods.chain(entries).collect();
    }
    if entry.endpoints.is_empty() && is_dns {
        return vec![of_host(service, namespace, target)];
    }
    let listed = entry.endpoints.iter();
    let listed = listed.filter_map(|it| of_workload(it, namespace, &port.name, target));
    listed.collect()
}

fn of_host(service: &Service, namespace: &str, port: u16) -> Endpoint {
    Endpoint {
        address: EndpointAddress::new(&service.host, port),
        labels: BTreeMap::new(),
        locality: Locality::default(),
        network: String::new(),
        weight: 1,
        namespace: namespace.to_owned(),
        service_account: None,
        account_source: AccountSource::WorkloadEntry,
        takes_mtls: false,
        health: EndpointHealth::Unknown,
    }
}
