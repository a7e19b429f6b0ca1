//! Pods as endpoints.

use crate::istio::traffic::Pod;

use super::endpoint::{
    AccountSource, Endpoint, EndpointAddress, EndpointHealth, HOSTNAME, TLS_MODE, plain,
};
use super::inventory::Inventory;

/// A pod at an address.
pub(super) fn of_pod(inventory: &Inventory<'_>, pod: &Pod, address: EndpointAddress) -> Endpoint {
    let mut labels = plain(&pod.labels);
    let takes_mtls = labels.get(TLS_MODE).is_some_and(|mode| mode == "istio");
    if let Some(node) = &pod.node {
        labels.insert(HOSTNAME.to_owned(), node.clone());
    }
    let network = labels.get(NETWORK).cloned().unwrap_or_default();
    let node = inventory.node(pod.node.as_deref());
    let account = &pod.service_account;
    Endpoint {
        address,
        locality: node.map(|node| node.locality.clone()).unwrap_or_default(),
        labels,
        network,
        weight: 1,
        namespace: pod.meta.namespace.clone(),
        service_account: (!account.is_empty()).then(|| account.clone()),
        account_source: AccountSource::Pod,
        takes_mtls,
        health: EndpointHealth::Unknown,
    }
}

const NETWORK: &str = "topology.istio.io/network";
