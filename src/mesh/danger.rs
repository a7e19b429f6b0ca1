use super::builder::MeshBuilder;

/// Ways around what a mesh keeps safe: [`MeshBuilder::danger`].
#[derive(Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousMeshBuilder(MeshBuilder);

impl MeshBuilder {
    /// What goes around the rules that a mesh keeps.
    pub fn danger(self) -> DangerousMeshBuilder {
        DangerousMeshBuilder(self)
    }
}

impl DangerousMeshBuilder {
    /// For development without certificates: no TLS in either direction, on any port, and no identities.
    ///
    /// The mesh takes no [`identity`](MeshBuilder::identity); one that is given as well is a mistake. Callers have no identity, so a rule that names
    /// principals or namespaces matches none of them, as on a plaintext connection in Istio: an ALLOW policy by principals allows no request, and
    /// a DENY policy by principals denies none. One that names those that are *not* meant (`notPrincipals`, `notNamespaces`) matches all of
    /// them: a DENY policy by it denies every request, and an ALLOW policy by it allows every one. All other rules hold: tokens, paths, methods,
    /// headers, addresses. Hosts of [`upstream`](MeshBuilder::upstream) are called in plaintext at their addresses, and only by `http://` URIs; the identities
    /// that they were given with are not checked. HTTP/1.1 and HTTP/2 are spoken as before, without TLS by prior knowledge, so gRPC works. A caller's
    /// trace is continued, unless [`Propagation::edge_trace`](crate::propagation::Propagation::edge_trace) says otherwise, though it comes without
    /// an identity.
    ///
    /// Resources that make a port of this workload STRICT (PeerAuthentication, or the peers of a legacy Policy) are refused at
    /// [`build`](MeshBuilder::build), and at a reload, where the configuration before stays. Where no resource says a mode, plaintext holds, whatever
    /// [`mode_otherwise`](MeshBuilder::mode_otherwise) says. A warning with target `tower_mesh::mesh` is written at the start, and each hour while the
    /// [`Driver`](crate::mesh::Driver) runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_mesh::{Mesh, Workload};
    ///
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"))
    ///     .danger()
    ///     .plaintext()
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    /// assert!(mesh.credentials().is_none());
    /// # Ok(()) }
    /// ```
    pub fn plaintext(self) -> MeshBuilder {
        let Self(mut builder) = self;
        builder.is_plaintext = true;
        builder
    }
}
