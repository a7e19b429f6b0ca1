use super::builder::MeshBuilder;
use crate::identity::Workload;
use crate::mesh::handle::Mesh;
use crate::tls::Mode;

/// Ways to a mesh that goes without what a mesh is for: [`Mesh::danger`](crate::Mesh::danger).
#[derive(Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousMesh(());

impl Mesh {
    /// Ways to a mesh that goes without what a mesh is for.
    pub fn danger() -> DangerousMesh {
        DangerousMesh(())
    }
}

impl DangerousMesh {
    /// For development without certificates: no TLS in either direction, on any port, and no identities.
    ///
    /// Callers have no identity, so a rule that names
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
    /// let (mesh, driver) = Mesh::danger()
    ///     .plaintext(Workload::new("default", "patients"))
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    /// assert!(mesh.credentials().is_none());
    /// # Ok(()) }
    /// ```
    pub fn plaintext(self, workload: Workload) -> MeshBuilder {
        MeshBuilder::new(workload, None)
    }
}

/// Ways around what a mesh keeps safe: [`MeshBuilder::danger`].
#[derive(Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousMeshBuilder(MeshBuilder);

impl MeshBuilder {
    /// Options that go around the rules that a mesh keeps.
    pub fn danger(self) -> DangerousMeshBuilder {
        DangerousMeshBuilder(self)
    }
}

impl DangerousMeshBuilder {
    /// As [`MeshBuilder::mode`], with [`Mode::Disable`], too: every port takes plaintext only.
    pub fn mode(mut self, mode: Mode) -> MeshBuilder {
        self.0.modes.forced = Some(mode);
        self.0
    }

    /// As [`MeshBuilder::mode_otherwise`], with [`Mode::Disable`], too.
    pub fn mode_otherwise(mut self, mode: Mode) -> MeshBuilder {
        self.0.modes.otherwise = mode;
        self.0
    }
}
