//! All resources that say how calls are routed and balanced.

use std::sync::Arc;

use super::gateway_api::{GrpcRoute, HttpRoute, ReferenceGrant};
use super::{
    DestinationRule, EndpointSlice, KubernetesService, Namespace, Node, Pod, ServiceEntry, Sidecar,
    VirtualService, WorkloadEntry, WorkloadGroup,
};
use crate::istio::Meta;

/// Everything that was read of these kinds, each list in the order it was written. All are listed
/// under [`Resources::skipped`](crate::istio::Resources::skipped), too: nothing routes by them yet.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TrafficResources {
    /// `networking.istio.io` VirtualService.
    pub virtual_services: Vec<Arc<VirtualService>>,
    /// `networking.istio.io` DestinationRule.
    pub destination_rules: Vec<Arc<DestinationRule>>,
    /// `networking.istio.io` ServiceEntry.
    pub service_entries: Vec<Arc<ServiceEntry>>,
    /// `networking.istio.io` WorkloadEntry.
    pub workload_entries: Vec<Arc<WorkloadEntry>>,
    /// `networking.istio.io` WorkloadGroup.
    pub workload_groups: Vec<Arc<WorkloadGroup>>,
    /// `networking.istio.io` Sidecar.
    pub sidecars: Vec<Arc<Sidecar>>,
    /// `gateway.networking.k8s.io` HTTPRoute.
    pub http_routes: Vec<Arc<HttpRoute>>,
    /// `gateway.networking.k8s.io` GRPCRoute.
    pub grpc_routes: Vec<Arc<GrpcRoute>>,
    /// `gateway.networking.k8s.io` ReferenceGrant.
    pub reference_grants: Vec<Arc<ReferenceGrant>>,
    /// Services of Kubernetes.
    pub services: Vec<Arc<KubernetesService>>,
    /// EndpointSlices of Kubernetes.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Pods of Kubernetes.
    pub pods: Vec<Arc<Pod>>,
    /// Nodes of Kubernetes.
    pub nodes: Vec<Arc<Node>>,
    /// Namespaces of Kubernetes.
    pub namespaces: Vec<Arc<Namespace>>,
}

impl TrafficResources {
    /// Adds everything of another configuration.
    pub(in crate::istio) fn append(&mut self, more: Self) {
        self.virtual_services.extend(more.virtual_services);
        self.destination_rules.extend(more.destination_rules);
        self.service_entries.extend(more.service_entries);
        self.workload_entries.extend(more.workload_entries);
        self.workload_groups.extend(more.workload_groups);
        self.sidecars.extend(more.sidecars);
        self.http_routes.extend(more.http_routes);
        self.grpc_routes.extend(more.grpc_routes);
        self.reference_grants.extend(more.reference_grants);
        self.services.extend(more.services);
        self.endpoint_slices.extend(more.endpoint_slices);
        self.pods.extend(more.pods);
        self.nodes.extend(more.nodes);
        self.namespaces.extend(more.namespaces);
    }

    /// The heads of all resources that are not Kubernetes' own, kind by kind.
    pub(in crate::istio) fn metas(&self) -> impl Iterator<Item = &Meta> {
        let virtual_services = self.virtual_services.iter().map(|r| &r.meta);
        virtual_services
            .chain(self.destination_rules.iter().map(|r| &r.meta))
            .chain(self.service_entries.iter().map(|r| &r.meta))
            .chain(self.workload_entries.iter().map(|r| &r.meta))
            .chain(self.workload_groups.iter().map(|r| &r.meta))
            .chain(self.sidecars.iter().map(|r| &r.meta))
            .chain(self.http_routes.iter().map(|r| &r.meta))
            .chain(self.grpc_routes.iter().map(|r| &r.meta))
            .chain(self.reference_grants.iter().map(|r| &r.meta))
    }
}
