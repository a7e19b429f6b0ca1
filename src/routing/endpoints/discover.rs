//! Finds the endpoints of services.

use crate::istio::traffic::Resolution;
use crate::routing::services::{Service, ServicePort, ServiceSource};

use super::endpoint::{Endpoint, EndpointAddress};
use super::inventory::Inventory;
use super::{of_entry, of_kubernetes};

impl Inventory<'_> {
    /// The endpoints of a port of a service.
    ///
    /// Of a Service of Kubernetes: those of its EndpointSlices, and WorkloadEntries of its namespace
    /// that its selector selects. Of a ServiceEntry: the ones it lists, or pods and WorkloadEntries
    /// of its namespace that its selector selects; with resolution DNS and neither, its host; with
    /// resolution NONE or DYNAMIC_DNS none. Services of other namespaces that have the same host
    /// have endpoints of their own.
    #[must_use]
    pub fn endpoints(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        match &service.source {
            ServiceSource::Kubernetes(kubernetes) => {
                of_kubernetes::endpoints(self, kubernetes, port)
            }
            ServiceSource::Entry(entry) => of_entry::endpoints(self, entry, service, port),
        }
    }

    /// The endpoints as EDS has them: names, which only DNS resolves, are left out.
    #[must_use]
    pub fn addresses(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        let mut endpoints = self.endpoints(service, port);
        if !matches!(
            service.resolution,
            Resolution::Dns | Resolution::DnsRoundRobin
        ) {
            let is_name = |it: &Endpoint| matches!(it.address, EndpointAddress::Name(..));
            endpoints.retain(|endpoint| !is_name(endpoint));
        }
        endpoints
    }
}
