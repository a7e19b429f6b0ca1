//! The option that sets how strict the gate is.

use super::builder::MeshBuilder;
use crate::gate::Gate;

impl MeshBuilder {
    /// Sets how strict the [gate](crate::gate) is: what it refuses before any other step reads the
    /// request. It takes a [`Profile`](crate::gate::Profile) or a [`Gate`]. By default it is
    /// [`Profile::Istio`](crate::gate::Profile::Istio), which lets the requests of clients that
    /// worked with a sidecar pass; at an [edge](crate::mesh::ListenerOptions::edge) it is
    /// [`Profile::Strict`](crate::gate::Profile::Strict).
    ///
    /// Paths are normalized as MeshConfig's `pathNormalization` says; [`Gate::normalization`] is a
    /// mistake here. Refusals are counted by `mesh_gate_refusals_total`.
    ///
    /// A server of the mesh demands that every request names a host. Behind
    /// [`Mesh::server`](crate::Mesh::server) and [`Mesh::protect`](crate::Mesh::protect), where the
    /// application has its own server, a request without a host passes: tests call services
    /// without one. Put a [`GateLayer`](crate::gate::GateLayer) in front to refuse it.
    ///
    /// ```
    /// # use tower_mesh::testing::Pki;
    /// # use tower_mesh::{Mesh, Workload};
    /// use tower_mesh::gate::Profile;
    ///
    /// # let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let builder = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .gate(Profile::Strict);
    /// # let _ = builder;
    /// # Ok::<(), tower_mesh::testing::PkiError>(())
    /// ```
    pub fn gate(mut self, gate: impl Into<Gate>) -> Self {
        let gate = gate.into();
        if gate.normalizes_by_itself() {
            self.mistakes.push(
                "gate: paths are normalized as MeshConfig's pathNormalization says: \
                 leave out Gate::normalization"
                    .to_owned(),
            );
        }
        self.gate = Some(gate);
        self
    }
}
