//! Everything that was read from a configuration.

use std::sync::Arc;

use super::mesh_config::names_mesh_config;
#[cfg(feature = "routing")]
use super::traffic::TrafficResources;
use crate::istio::{
    AuthorizationPolicy, Authorizer, Deployed, DeployedService, LegacyPolicy, MeshConfig, Meta,
    PeerAuthentication, Position, Problem, RateLimit, RbacConfig, RequestAuthentication,
    ServiceRole, ServiceRoleBinding, Telemetry,
};

/// Everything that was read from a configuration, in the order it was written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Resources {
    /// `security.istio.io` AuthorizationPolicy.
    pub authorization_policies: Vec<Arc<AuthorizationPolicy>>,
    /// `security.istio.io` RequestAuthentication.
    pub request_authentications: Vec<Arc<RequestAuthentication>>,
    /// `security.istio.io` PeerAuthentication.
    pub peer_authentications: Vec<Arc<PeerAuthentication>>,
    /// `authentication.istio.io/v1alpha1` Policy and MeshPolicy.
    pub legacy_policies: Vec<Arc<LegacyPolicy>>,
    /// `rbac.istio.io/v1alpha1` ClusterRbacConfig and RbacConfig.
    pub rbac_configs: Vec<Arc<RbacConfig>>,
    /// `rbac.istio.io/v1alpha1` ServiceRole.
    pub service_roles: Vec<Arc<ServiceRole>>,
    /// `rbac.istio.io/v1alpha1` ServiceRoleBinding.
    pub service_role_bindings: Vec<Arc<ServiceRoleBinding>>,
    /// `mesh.tower/v1` Authorizer.
    pub authorizers: Vec<Arc<Authorizer>>,
    /// `mesh.tower/v1` RateLimit.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// `telemetry.istio.io` Telemetry.
    pub telemetries: Vec<Arc<Telemetry>>,
    /// What routes and balances calls.
    #[cfg(feature = "routing")]
    pub traffic: TrafficResources,
    /// Documents of other API groups: read past, not used.
    pub skipped: Vec<Skipped>,
    /// The MeshConfig of the ConfigMap `istio`, when that is among the documents (it is listed
    /// under [`skipped`](Self::skipped), too).
    pub mesh_config: Option<Arc<MeshConfig>>,
    /// Workloads that documents of Kubernetes deploy (they are listed under
    /// [`skipped`](Self::skipped), too). Policies are not judged by them; tools that look at all
    /// workloads are.
    pub workloads: Vec<Deployed>,
    /// Services of Kubernetes, likewise.
    pub services: Vec<DeployedService>,
    /// What is allowed and probably not meant.
    pub notes: Vec<Problem>,
}

impl Resources {
    /// Adds everything of another configuration. A MeshConfig that is there already stays.
    pub fn append(&mut self, more: Self) {
        self.authorization_policies
            .extend(more.authorization_policies);
        self.request_authentications
            .extend(more.request_authentications);
        self.peer_authentications.extend(more.peer_authentications);
        self.legacy_policies.extend(more.legacy_policies);
        self.rbac_configs.extend(more.rbac_configs);
        self.service_roles.extend(more.service_roles);
        self.service_role_bindings
            .extend(more.service_role_bindings);
        self.authorizers.extend(more.authorizers);
        self.rate_limits.extend(more.rate_limits);
        self.telemetries.extend(more.telemetries);
        #[cfg(feature = "routing")]
        self.traffic.append(more.traffic);
        self.skipped.extend(more.skipped);
        self.workloads.extend(more.workloads);
        self.services.extend(more.services);
        self.notes.extend(more.notes);
        self.mesh_config = self.mesh_config.take().or(more.mesh_config);
    }

    /// The heads of all resources, kind by kind.
    pub fn metas(&self) -> impl Iterator<Item = &Meta> {
        let metas = self
            .authorization_policies
            .iter()
            .map(|resource| &resource.meta)
            .chain(self.request_authentications.iter().map(|r| &r.meta))
            .chain(self.peer_authentications.iter().map(|r| &r.meta))
            .chain(self.legacy_policies.iter().map(|r| &r.meta))
            .chain(self.rbac_configs.iter().map(|r| &r.meta))
            .chain(self.service_roles.iter().map(|r| &r.meta))
            .chain(self.service_role_bindings.iter().map(|r| &r.meta))
            .chain(self.authorizers.iter().map(|r| &r.meta))
            .chain(self.rate_limits.iter().map(|r| &r.meta))
            .chain(self.telemetries.iter().map(|r| &r.meta));
        #[cfg(feature = "routing")]
        let metas = metas.chain(self.traffic.metas());
        metas
    }
}

/// A document that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where it starts.
    pub at: Position,
}

impl Skipped {
    /// Whether it is the ConfigMap in which Istio keeps its MeshConfig.
    #[must_use]
    pub fn is_mesh_config(&self) -> bool {
        self.api_version == "v1" && names_mesh_config(&self.kind, &self.name)
    }
}
