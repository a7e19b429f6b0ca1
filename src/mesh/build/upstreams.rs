//! The options that name the hosts of the client.

use super::builder::MeshBuilder;
use crate::mesh::client::Upstreams;
use crate::mesh::{ExternalHost, UpstreamAddress, UpstreamId};
use crate::tls::AllowedIds;

impl MeshBuilder {
    /// The hosts that the client may call. Replaces those that were given before;
    /// [`Mesh::replace_upstreams`](crate::Mesh::replace_upstreams) replaces them in a running mesh.
    pub fn upstreams(mut self, upstreams: Upstreams) -> Self {
        self.upstreams = upstreams;
        self
    }

    /// Adds a host that the client may call: see [`Upstreams::upstream`].
    ///
    /// ```
    /// # use tower_mesh::testing::Pki;
    /// # use tower_mesh::{Mesh, Workload};
    /// # let identity = Pki::new("cluster.local")?.identity("default", "desk")?;
    /// let builder = Mesh::builder(Workload::new("default", "desk"), identity).upstream(
    ///     "charts.default",
    ///     ["charts.internal:8443"],
    ///     ["spiffe://cluster.local/ns/default/sa/charts"],
    /// );
    /// # let _ = builder;
    /// # Ok::<(), tower_mesh::testing::PkiError>(())
    /// ```
    pub fn upstream<A: Into<UpstreamAddress>, I: Into<UpstreamId>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        identities: impl IntoIterator<Item = I>,
    ) -> Self {
        self.upstreams = self.upstreams.upstream(host, addresses, identities);
        self
    }

    /// As [`upstream`](Self::upstream), for the identities that an [`AllowedIds`] allows.
    pub fn upstream_accepting<A: Into<UpstreamAddress>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        allowed: AllowedIds,
    ) -> Self {
        self.upstreams = self.upstreams.upstream_accepting(host, addresses, allowed);
        self
    }

    /// Adds a host outside the mesh that the client may call, `host[:port]`, and how to reach it.
    pub fn outside(mut self, host: &str, outside: ExternalHost) -> Self {
        self.upstreams = self.upstreams.outside(host, outside);
        self
    }
}
