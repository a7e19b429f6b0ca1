//! WorkloadEntries, and what a ServiceEntry lists, as endpoints.

use crate::istio::traffic::{Locality, WorkloadEntrySpec};

use super::endpoint::{AccountSource, Endpoint, EndpointAddress, EndpointHealth, TLS_MODE, plain};

/// The workload at a port: `ports` by the service's name of it, else `target`. `None` for one
/// without an address, which is of another network and reached through a gateway there.
pub(super) fn of_workload(
    spec: &WorkloadEntrySpec,
    namespace: &str,
    port_name: &str,
    target: u16,
) -> Option<Endpoint> {
    let port = spec.ports.get(port_name).copied().unwrap_or(target);
    let service_account = spec.service_account.as_deref().map(str::to_owned);
    let labels = plain(&spec.labels);
    let takes_mtls = match labels.get(TLS_MODE) {
        Some(mode) => mode == "istio",
        None => service_account.is_some(),
    };
    // The label writes dots for slashes, which labels cannot have.
    let of_label = || {
        let label = labels.get("istio-locality");
        label.map(|label| Locality::parse(&label.replace('.', "/")))
    };
    let locality = spec.locality.clone().or_else(of_label).unwrap_or_default();
    Some(Endpoint {
        address: EndpointAddress::new(spec.address.as_deref()?, port),
        locality,
        labels,
        network: spec.network.as_deref().unwrap_or_default().to_owned(),
        weight: spec.weight.unwrap_or(1),
        namespace: namespace.to_owned(),
        service_account,
        account_source: AccountSource::WorkloadEntry,
        takes_mtls,
        health: EndpointHealth::Unknown,
    })
}
