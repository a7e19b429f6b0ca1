use super::pool::address::{UpstreamAddress, UpstreamId};
use super::pool::external_host::ExternalHost;
use super::pool::upstreams::{CompiledOutbound, shown};
use crate::error_chain::ErrorChain;
use crate::tls::{AllowedIds, Settings};

/// The hosts that a client may call. All others are errors.
///
/// [`MeshBuilder::upstreams`](crate::MeshBuilder::upstreams) takes them at the start,
/// [`Mesh::replace_upstreams`](crate::Mesh::replace_upstreams) while the mesh runs. Mistakes are
/// found there, all of them.
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
    /// No hosts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that the client may call, `host[:port]`: where its workloads listen, and which
    /// identities may answer there.
    ///
    /// Each address is a `SocketAddr` or a text, `ip:port` or `name:port`; see [`UpstreamAddress`]
    /// for how DNS is asked. Each identity is a [`SpiffeId`](crate::identity::SpiffeId) or its text.
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

    /// As [`upstream`](Self::upstream), for the identities that an [`AllowedIds`] allows: by a
    /// function of the application's, say.
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

    /// A host outside the mesh that the client may call, `host[:port]`, and how.
    pub fn outside(mut self, host: &str, outside: ExternalHost) -> Self {
        self.external.push((host.to_owned(), outside));
        self
    }

    /// What calls are routed by. `mistakes` gets everything that is wrong.
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
                let host = shown(&host);
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
                mistakes.push(format!("outside {:?}: {mistake}", shown(&host)));
            }
        }
        compiled
    }
}
