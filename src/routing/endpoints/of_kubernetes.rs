//! Endpoints of a Service of Kubernetes.

use crate::istio::traffic::{KubernetesService, Locality, SliceEndpoint, TargetPort};
use crate::routing::services::ServicePort;

use super::endpoint::{AccountSource, Endpoint, EndpointAddress, EndpointHealth, HOSTNAME};
use super::inventory::Inventory;
use super::of_pod::of_pod;
use super::of_workload::of_workload;

pub(super) fn endpoints(
    inventory: &Inventory<'_>,
    service: &KubernetesService,
    port: &ServicePort,
) -> Vec<Endpoint> {
    let namespace = service.meta.namespace.as_str();
    let mut found = Vec::new();
    for slice in inventory.slices(namespace, &service.meta.name) {
        let mut ports = slice.ports.iter();
        let number = ports.find(|it| it.name == port.name);
        let Some(number) = number.and_then(|it| it.number) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let Some(health) = health(service, endpoint) else {
                continue;
            };
            let of_slice = endpoint.addresses.iter().filter_map(|address| {
                let address = EndpointAddress::Ip(address.parse().ok()?, number);
                let mut of_slice = of_slice(inventory, endpoint, namespace, address);
                of_slice.health = health;
                Some(of_slice)
            });
            found.extend(of_slice);
        }
    }
    if !service.selector.is_empty() {
        let mut ports = service.ports.iter();
        let target = ports.find(|it| it.number == port.number);
        let target = target.map_or(&TargetPort::Same, |it| &it.target_port);
        let entries = inventory.selected_entries(namespace, &service.selector);
        found.extend(entries.filter_map(|entry| {
            let number = match target {
                TargetPort::Same => port.number,
                TargetPort::Number(number) => *number,
                TargetPort::Name(name) => *entry.spec.ports.get(name)?,
            };
            of_workload(&entry.spec, &entry.meta.namespace, &port.name, number)
        }));
    }
    found
}

/// `None`: it is going, and counts no more.
fn health(service: &KubernetesService, endpoint: &SliceEndpoint) -> Option<EndpointHealth> {
    if endpoint.is_ready || service.publish_not_ready_addresses {
        return Some(EndpointHealth::Healthy);
    }
    (!endpoint.is_terminating).then_some(EndpointHealth::Unhealthy)
}

/// An endpoint of a slice. Where its pod is not known, nothing is of its labels and its account.
fn of_slice(
    inventory: &Inventory<'_>,
    endpoint: &SliceEndpoint,
    namespace: &str,
    address: EndpointAddress,
) -> Endpoint {
    if let Some((namespace, name)) = &endpoint.pod
        && let Some(pod) = inventory.pod(namespace, name)
    {
        let mut found = of_pod(inventory, pod, address);
        if found.locality.is_empty() {
            found.locality = locality_of(inventory, endpoint);
        }
        return found;
    }
    let labels = endpoint.node.iter();
    let labels = labels.map(|node| (HOSTNAME.to_owned(), node.clone()));
    Endpoint {
        address,
        labels: labels.collect(),
        locality: locality_of(inventory, endpoint),
        network: String::new(),
        weight: 1,
        namespace: namespace.to_owned(),
        service_account: None,
        account_source: AccountSource::Pod,
        takes_mtls: false,
        health: EndpointHealth::Unknown,
    }
}

fn locality_of(inventory: &Inventory<'_>, endpoint: &SliceEndpoint) -> Locality {
    if let Some(node) = inventory.node(endpoint.node.as_deref()) {
        return node.locality.clone();
    }
    Locality {
        zone: endpoint.zone.clone().unwrap_or_default(),
        ..Locality::default()
    }
}
