//! The hosts that an application allows its client to call, as it configures them.

use super::pool::address::{UpstreamAddress, UpstreamId, without_user};
use super::pool::compiled_outbound::CompiledOutbound;
use super::pool::external_host::ExternalHost;
use crate::error_chain::ErrorChain;
use crate::tls::{AllowedIds, Settings};

/// The hosts that a client may call. A call to any other host is an error.
///
/// [`MeshBuilder::upstreams`](crate::MeshBuilder::upstreams) sets them at the start, and
/// [`Mesh::replace_upstreams`](crate::Mesh::replace_upstreams) replaces them while the mesh runs.
/// Both report all mistakes at once.
#[derive(Clone, Debug, Default)]
#[must_use = "upstreams do nothing until a mesh has them"]
pub struct Upstreams {
    mesh: Vec<(String, MeshHost)>,
    external: Vec<(String, ExternalHost)>,
}

#[derive(Clone, Debug)]
struct MeshHost {
    addresses: Vec<UpstreamAddress>,
    allowed: Result<AllowedIds, Vec<String>>,
}

impl Upstreams {
    /// An empty set of hosts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host of the mesh, `host[:port]`, with the addresses of its workloads and the
    /// identities that may answer there.
    ///
    /// Each address is a `SocketAddr` or a text, `ip:port` or `name:port`; see [`UpstreamAddress`]
    /// for when DNS is asked. Each identity is a [`SpiffeId`](crate::identity::SpiffeId) or its
    /// text.
    ///
    /// ```
    /// use tower_mesh::mesh::Upstreams;
    ///
    /// let upstreams = Upstreams::new().upstream(
    ///     "charts.default",
    ///     ["charts.internal:8443"],
    ///     ["spiffe://cluster.local/ns/default/sa/charts"],
    /// );
    /// ```
    pub fn upstream<A: Into<UpstreamAddress>, I: Into<UpstreamId>>(
        self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        identities: impl IntoIterator<Item = I>,
    ) -> Self {
        let (mut allowed, mut mistakes) = (Vec::new(), Vec::new());
        for identity in identities {
            match identity.into().id() {
                Ok(id) => allowed.push(id),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let allowed = match mistakes.is_empty() {
            true => Ok(allowed.into_iter().collect()),
            false => Err(mistakes),
        };
        self.and(host, addresses, allowed)
    }

    /// As [`upstream`](Self::upstream), with an [`AllowedIds`] that decides which identities may
    /// answer, for example by a function of the application.
    pub fn upstream_accepting<A: Into<UpstreamAddress>>(
        self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        allowed: AllowedIds,
    ) -> Self {
        self.and(host, addresses, Ok(allowed))
    }

    fn and<A: Into<UpstreamAddress>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        allowed: Result<AllowedIds, Vec<String>>,
    ) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        let host_of_mesh = MeshHost { addresses, allowed };
        self.mesh.push((host.to_owned(), host_of_mesh));
        self
    }

    /// Adds a host outside the mesh, `host[:port]`, and how to reach it.
    pub fn outside(mut self, host: &str, outside: ExternalHost) -> Self {
        self.external.push((host.to_owned(), outside));
        self
    }

    /// Compiles the table that calls are routed by. Adds everything that is wrong to `mistakes`.
    pub(in crate::mesh) fn compile(
        self,
        namespace: &str,
        settings: &Settings,
        is_plaintext: bool,
        mistakes: &mut Vec<String>,
    ) -> CompiledOutbound {
        let mut compiled = CompiledOutbound::default();
        compiled.is_plaintext = is_plaintext;
        for (host, MeshHost { addresses, allowed }) in self.mesh {
            if let Err(found) = compiled.add(&host, namespace, &addresses, allowed) {
                let host = without_user(&host);
                let found = found.into_iter();
                mistakes.extend(found.map(|mistake| format!("upstream {host:?}: {mistake}")));
            }
        }
        for (host, outside) in self.external {
            let ready = outside.ready(settings);
            let added = ready
                .map_err(|error| ErrorChain(&error).to_string())
                .and_then(|ready| compiled.add_external(&host, ready));
            if let Err(mistake) = added {
                mistakes.push(format!("outside {:?}: {mistake}", without_user(&host)));
            }
        }
        compiled
    }
}
