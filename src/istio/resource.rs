use std::sync::Arc;

use super::{
    AuthorizationPolicy, LegacyPolicy, MeshConfig, PeerAuthentication, Position, Problem,
    RbacConfig, RequestAuthentication, ServiceRole, ServiceRoleBinding,
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
    /// Documents of other API groups: read past, not used.
    pub skipped: Vec<Skipped>,
    /// The MeshConfig of the ConfigMap `istio`, when that is among the documents (it is listed under [`skipped`](Self::skipped), too).
    pub mesh_config: Option<Arc<MeshConfig>>,
    /// What is allowed and probably not meant.
    pub notes: Vec<Problem>,
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
