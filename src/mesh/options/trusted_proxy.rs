//! The proxies whose word about their callers a mesh believes.

use crate::context::Via;
use crate::mesh::client::pool::address::UpstreamId;

/// Proxies whose word about their own callers a mesh believes:
/// [`trusted_proxy`](crate::mesh::DangerousMeshBuilder::trusted_proxy).
///
/// Such a proxy can name any caller. Name only proxies that verify certificates as strictly as the
/// mesh does, and that only the mesh's operators can configure.
#[derive(Clone, Debug)]
#[must_use = "a proxy is trusted only once a builder has it"]
pub struct TrustedProxy {
    pub(in crate::mesh) proxies: Vec<Via>,
    /// Mistakes found so far; each begins with the name of its method.
    pub(in crate::mesh) mistakes: Vec<String>,
}

impl TrustedProxy {
    /// Proxies that prove one of these SPIFFE ids by mutual TLS, such as the gateway of a mesh.
    /// The ids are exact: there are no patterns.
    ///
    /// The proxy names its caller in the last element of `x-forwarded-client-cert`, as Envoy does
    /// with `APPEND_FORWARD` and `SANITIZE_SET`. It must not pass on a header that it has not
    /// written (`FORWARD_ONLY`, `ALWAYS_FORWARD_ONLY`).
    ///
    /// ```
    /// # use tower_mesh::testing::Pki;
    /// use tower_mesh::mesh::TrustedProxy;
    /// use tower_mesh::{Mesh, Workload};
    ///
    /// # let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let gateway = "spiffe://cluster.local/ns/istio-system/sa/gateway";
    /// let builder = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .danger()
    ///     .trusted_proxy(TrustedProxy::identities([gateway]));
    /// # let _ = builder;
    /// # Ok::<(), tower_mesh::testing::PkiError>(())
    /// ```
    pub fn identities<I: Into<UpstreamId>>(ids: impl IntoIterator<Item = I>) -> Self {
        let (mut proxies, mut mistakes) = (Vec::new(), Vec::new());
        for id in ids {
            match id.into().id() {
                Ok(id) => proxies.push(Via::Identity(id)),
                Err(mistake) => mistakes.push(format!("identities: {mistake}")),
            }
        }
        if proxies.is_empty() && mistakes.is_empty() {
            let mistake = "identities: the list is empty, so no proxy is trusted: name each proxy, \
                           or leave the option out";
            mistakes.push(mistake.to_owned());
        }
        Self { proxies, mistakes }
    }
}
