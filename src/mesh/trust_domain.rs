//! Warns when policies and our certificate disagree about our own trust domain.

use crate::identity::{SpiffeId, TrustDomain, Workload};
use crate::istio::MeshConfig;
use crate::policy::Program;

/// Sets the workload's trust domain to that of its certificate, and warns if the workload states
/// another.
pub(super) fn of_certificate(workload: Workload, certificate: &SpiffeId) -> Workload {
    let domain = certificate.trust_domain();
    if let Some(stated) = workload.own_trust_domain()
        && stated != domain
    {
        tracing::warn!(
            target: "tower_mesh::config",
            %stated,
            certificate = %domain,
            "the workload states another trust domain than its certificate; the certificate's \
             counts"
        );
    }
    workload.trust_domain(domain.clone())
}

/// Warns when the MeshConfig states a trust domain that is neither that of our identity nor an
/// alias.
pub(super) fn warn(mesh: &MeshConfig, workload: &Workload) {
    let Some(written) = &mesh.trust_domain else {
        return;
    };
    let Some(own) = workload.own_trust_domain().map(TrustDomain::as_str) else {
        return;
    };
    let is_pattern = written.contains('*');
    let is_alias = mesh.trust_domain_aliases.iter().any(|alias| alias == own);
    if written != own && !is_pattern && !is_alias {
        tracing::warn!(
            target: "tower_mesh::config",
            mesh_config = written,
            ours = own,
            "MeshConfig's trustDomain is not that of our identity; policies that name \
             cluster.local mean MeshConfig's"
        );
    }
}

/// Warns when policies name our own trust domain and neither the workload nor the MeshConfig states
/// it.
pub(super) fn warn_of_assumed(program: &Program) {
    if program.assumes_trust_domain {
        tracing::warn!(
            target: "tower_mesh::config",
            "policies name our own trust domain, which is taken for cluster.local: \
             state it by Workload::trust_domain, or by trustDomain of the MeshConfig"
        );
    }
}
