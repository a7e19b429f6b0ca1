//! A mesh without TLS: its warning, and the id that nothing proves.

use crate::identity::{SpiffeId, TrustDomain, Workload};

/// Warns in the log that a mesh speaks plaintext.
#[derive(Debug)]
pub(super) struct Plaintext {
    /// How many hosts the client calls without checking their identity.
    pub(super) upstreams: usize,
}

impl Plaintext {
    /// Logs the warning.
    pub(super) fn warn(&self) {
        let upstreams = self.upstreams;
        tracing::warn!(
            target: "tower_mesh::mesh",
            upstreams,
            "plaintext: no TLS, callers have no identity, so principals match no caller, and the \
             identities of upstreams are not checked; for development only"
        );
    }
}

/// The id that Istio would give to the workload, in the trust domain that the workload states, else
/// in the MeshConfig's, else in `cluster.local`. Nothing proves it.
///
/// # Errors
/// When its namespace or service account cannot be part of a SPIFFE id.
pub(super) fn unproven_id(
    workload: &Workload,
    mesh_config: Option<&str>,
) -> Result<SpiffeId, String> {
    // The MeshConfig may hold a pattern, which cannot be part of an id.
    let stated = mesh_config.and_then(|domain| TrustDomain::new(domain).ok());
    let trust_domain = match workload.own_trust_domain().cloned().or(stated) {
        Some(own) => own,
        None => TrustDomain::new("cluster.local").map_err(|error| error.to_string())?,
    };
    let id = workload.spiffe_id(&trust_domain);
    id.map_err(|error| format!("the workload can have no SPIFFE id: {error}"))
}
