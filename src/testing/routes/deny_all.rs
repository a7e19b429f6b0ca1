//! A mesh that refuses every request.

use crate::Mesh;
use crate::identity::Workload;
use crate::mesh::BuildError;
use crate::source::Fixed;

/// A policy that refuses every request to the workloads of its namespace. Without a namespace of
/// its own it applies in that of the workload which reads it.
pub const DENY_ALL: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-all}
spec: {action: DENY, rules: [{}]}
";

/// A mesh that refuses every request: without certificates, with [`DENY_ALL`] as its only policy.
/// Nothing in it changes, so it needs no [`Driver`](crate::Driver).
///
/// Give it to the function that composes your application, in place of the mesh that `main` builds.
/// If that function needs upstreams or options, build the mesh as `main` does and put [`DENY_ALL`]
/// in place of its policies.
///
/// # Errors
/// When the workload's names cannot be part of a SPIFFE id.
pub async fn deny_all_mesh(workload: Workload) -> Result<Mesh, BuildError> {
    let policies = Fixed::yaml("deny-all.yaml", DENY_ALL);
    let builder = Mesh::danger().plaintext(workload).config(policies);
    let (mesh, _driver) = builder.build().await?;
    Ok(mesh)
}
