//! The ways to a mesh without TLS or identities.

use super::builder::MeshBuilder;
use crate::gate::ForwardClientCert;
use crate::identity::Workload;
use crate::mesh::handle::Mesh;
use crate::mesh::options::TrustedProxy;
use crate::tls::Mode;

/// Ways to a mesh without the protection that a mesh gives: [`Mesh::danger`](crate::Mesh::danger).
#[derive(Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousMesh(());

impl Mesh {
    /// Ways to a mesh without the protection that a mesh gives.
    pub fn danger() -> DangerousMesh {
        DangerousMesh(())
    }
}

impl DangerousMesh {
    /// For development without certificates: no TLS in either direction, on any port, and no
    /// identities.
    ///
    /// Callers have no identity, so a rule that names principals or namespaces matches none of
    /// them, as on a plaintext connection in Istio: an ALLOW policy by principals allows no
    /// request, and a DENY policy by principals denies none. A rule that excludes some
    /// (`notPrincipals`, `notNamespaces`) matches all callers: a DENY policy by it denies every
    /// request, and an ALLOW policy by it allows every one. All other rules work as before: tokens,
    /// paths, methods, headers, addresses.
    ///
    /// The client calls hosts of [`upstream`](MeshBuilder::upstream) in plaintext at their
    /// addresses, and only by `http://` URIs; it does not check their identities. HTTP/1.1 and
    /// HTTP/2 (by prior knowledge) work as before, and gRPC with them. The trace of a caller is
    /// continued although the caller has no identity, unless
    /// [`Propagation::edge_trace`](crate::propagation::Propagation::edge_trace) forbids it.
    ///
    /// Resources that make a port of this workload STRICT (PeerAuthentication, or the peers of a
    /// legacy Policy) are refused at [`build`](MeshBuilder::build), and at a reload, where the
    /// configuration before stays. Ports without a mode take plaintext, and
    /// [`mode_otherwise`](MeshBuilder::mode_otherwise) has no effect. The log warns of plaintext,
    /// target `tower_mesh::mesh`, at the start, and each hour while the
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

/// Options that switch off protection of a mesh: [`MeshBuilder::danger`].
#[derive(Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousMeshBuilder(MeshBuilder);

impl MeshBuilder {
    /// Options that switch off protection of a mesh.
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

    /// Shows applications the `x-forwarded-client-cert` of every caller, also of one without an
    /// identity: [`ForwardClientCert::AlwaysForwardOnly`]. At an
    /// [edge](crate::mesh::ListenerOptions::edge), callers from outside still lose it.
    pub fn always_forward_client_cert(mut self) -> MeshBuilder {
        self.0.listener.trust.client_cert = ForwardClientCert::AlwaysForwardOnly;
        self.0
    }

    /// As [`MeshBuilder::mode_otherwise`], with [`Mode::Disable`], too.
    pub fn mode_otherwise(mut self, mode: Mode) -> MeshBuilder {
        self.0.modes.otherwise = mode;
        self.0
    }

    /// Believes what these proxies say of their callers, for teams that move to the mesh service by
    /// service. May be called several times.
    ///
    /// The caller is a [`ForwardedPeer`](crate::context::ForwardedPeer) of the request, which rules
    /// about its source judge in place of the proxy: `principals`, `namespaces`,
    /// `serviceAccounts`, `ipBlocks` and conditions on `source.*`. The
    /// [`Peer`](crate::context::Peer) stays the proxy. Log lines and explanations name both,
    /// `a via b`. What all other callers say of their callers is not believed.
    ///
    /// [`TrustedProxy`] says how a proxy names its caller. In `x-forwarded-client-cert`:
    ///
    /// - A request without the header has a caller without an identity, as on a plaintext
    ///   connection in Istio: rules that name principals or namespaces match no such caller, and
    ///   those that exclude some (`notPrincipals`) match each. A gateway lets strangers in, so its
    ///   own identity in their place would give them its rights.
    /// - The header must be readable, its last element must name the proxy in `By`, and no other
    ///   element may: a name in a certificate can forge an element, because Envoy does not quote
    ///   it. The caller has one SPIFFE id, or no URI at all. Otherwise the request is refused with
    ///   400, and `mesh_trusted_proxy_refused_total` counts it by reason.
    ///
    /// Metrics name the peer as the source, because nothing else is proven: the proxy, or nobody
    /// where it connects in plaintext.
    ///
    /// While it is on, the log warns of each proxy, target `tower_mesh::mesh`, at the start and
    /// each hour; [`readiness`](crate::Mesh::readiness) and the metric `mesh_trusted_proxy` name
    /// them.
    pub fn trusted_proxy(mut self, proxy: TrustedProxy) -> MeshBuilder {
        let mistakes = proxy.mistakes.iter();
        let mistakes = mistakes.map(|mistake| format!("danger().trusted_proxy: {mistake}"));
        self.0.mistakes.extend(mistakes);
        self.0.trusted_proxies.extend(proxy.proxies);
        self.0
    }
}
