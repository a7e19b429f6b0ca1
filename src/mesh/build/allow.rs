//! The option that allows an identity other than the workload's.

use super::builder::MeshBuilder;
use crate::identity::SpiffeId;

impl MeshBuilder {
    /// Lets our own certificate have this id, although the workload has another namespace or
    /// service account. May be called several times.
    ///
    /// Without it [`build`](Self::build) refuses the certificate of another workload, by ids of
    /// Istio's shape, `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`: policies would be chosen for the
    /// workload, and peers would see the certificate. Ids of another shape, and trust domains, are
    /// not compared. After the build, an identity with another id is never put to use, allowed here
    /// or not: the last good one stays, and the log and `mesh_identity_rotation_errors_total` show
    /// it.
    ///
    /// ```
    /// use tower_mesh::identity::SpiffeId;
    /// use tower_mesh::tls::Files;
    /// use tower_mesh::{Mesh, Workload};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shared = SpiffeId::new("spiffe://cluster.local/ns/platform/sa/batch")?;
    /// let workload = Workload::new("clinic", "nightly");
    /// let builder = Mesh::builder(workload, Files::watch("certs")).allow_identity(shared);
    /// # let _ = builder;
    /// # Ok(()) }
    /// ```
    pub fn allow_identity(mut self, id: SpiffeId) -> Self {
        self.allowed.push(id);
        self
    }
}
