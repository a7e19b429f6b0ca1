use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How the keys of end-user tokens are fetched: [`MeshBuilder::tokens`](crate::MeshBuilder::tokens)
/// and [`GuardsBuilder::tokens`](crate::GuardsBuilder::tokens).
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct TokenOptions {
    /// PEM; the system's roots when absent.
    pub(in crate::mesh) roots: Option<Vec<u8>>,
    /// Hosts that DNS is not asked for.
    pub(in crate::mesh) addresses: BTreeMap<String, SocketAddr>,
    /// Whether plain HTTP is spoken with this machine.
    pub(in crate::mesh) loopback_http: bool,
}

impl TokenOptions {
    /// Trusts these roots (PEM), and only these, for the HTTPS servers that keys are fetched from; the system's by default.
    pub fn jwks_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Fetches keys of this host, `host:port`, from a fixed address instead of asking DNS.
    pub fn resolve(mut self, host: &str, address: SocketAddr) -> Self {
        self.addresses.insert(host.to_ascii_lowercase(), address);
        self
    }

    /// Fetches keys over plain HTTP, too, of servers on this machine, for development: where a `jwksUri`, or the issuer to discover it from,
    /// begins with `http://localhost`, `http://127.…` or `http://[::1]`, and a port follows or none. `localhost` is connected to at loopback
    /// addresses only; any other host stays refused, wherever its name leads. The log warns of it at the start, with each such URI.
    pub fn loopback_http_jwks(mut self) -> Self {
        self.loopback_http = true;
        self
    }
}
