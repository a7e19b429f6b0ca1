//! The options of end-user tokens: which requests need one, and where keys come from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::error_chain::ErrorChain;
use crate::jwt::{SvidKeys, Terms, TokenMode};

/// Which requests need an end-user token, and how the keys of tokens are fetched:
/// [`MeshBuilder::tokens`](crate::MeshBuilder::tokens) and
/// [`GuardsBuilder::tokens`](crate::GuardsBuilder::tokens).
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct TokenOptions {
    /// PEM; the system's roots when absent.
    pub(in crate::mesh) roots: Option<Vec<u8>>,
    /// Addresses that replace DNS, by `host:port`.
    pub(in crate::mesh) addresses: BTreeMap<String, SocketAddr>,
    /// Whether keys of servers on this machine may be fetched over plain HTTP.
    pub(in crate::mesh) loopback_http: bool,
    pub(in crate::mesh) terms: Terms,
    /// The keys of JWT-SVIDs; those of the identity's source when absent.
    pub(in crate::mesh) svid_keys: Option<SvidKeys>,
    /// Each begins with the name of its method.
    pub(in crate::mesh) mistakes: Vec<String>,
    /// The longest time between two good fetches; `None` for the default.
    pub(in crate::mesh) fetch_every: Option<Duration>,
}

impl TokenOptions {
    /// Sets what becomes of requests without a good token; [`TokenMode::Optional`] by default, as
    /// in Istio. [`TokenMode::ReportOnly`] lets bad tokens pass: the log warns of it at the start,
    /// and [`Readiness`](crate::mesh::Readiness) and the metric `mesh_jwt_mode` show it.
    pub fn mode(mut self, mode: TokenMode) -> Self {
        self.terms.mode = mode;
        self
    }

    /// Neither demands nor reads tokens at this path, `/healthz` for one path or `/public/*` for
    /// all below it; see [`ExcludedPath`](crate::jwt::ExcludedPath) and
    /// [`JwtLayer::exclude`](crate::jwt::JwtLayer::exclude). May be called several times.
    pub fn exclude(mut self, path: &str) -> Self {
        match path.parse() {
            Ok(path) => self.terms.exclude(path),
            Err(error) => self
                .mistakes
                .push(format!("exclude({path:?}): {}", ErrorChain(&error))),
        }
        self
    }

    /// Goes by the letter of the RFCs where Istio is lenient:
    /// [`JwtLayer::strict`](crate::jwt::JwtLayer::strict) lists what that is.
    pub fn strict(mut self) -> Self {
        self.terms.read_strictly();
        self
    }

    /// Trusts these roots (PEM), and only these, for the HTTPS servers that keys are fetched from;
    /// the system's roots by default.
    pub fn jwks_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Fetches keys of this host, `host:port`, from a fixed address, without DNS.
    pub fn resolve(mut self, host: &str, address: SocketAddr) -> Self {
        self.addresses.insert(host.to_ascii_lowercase(), address);
        self
    }

    /// Takes the keys of JWT-SVIDs from here, for rules whose issuer is `spiffe://DOMAIN` and that
    /// have neither `jwks` nor `jwksUri`. The application may replace them at any time.
    ///
    /// By default they come from where the identity comes from, if that is the SPIFFE Workload API
    /// or another [`tls::Source`](crate::tls::Source) with
    /// [`jwt_bundles`](crate::tls::Source::jwt_bundles). Where there are none, such rules are
    /// refused at the start and at a reload.
    pub fn svid_keys(mut self, keys: SvidKeys) -> Self {
        self.svid_keys = Some(keys);
        self
    }

    /// For development: also fetches keys over plain HTTP, of servers on this machine. This applies
    /// to a `jwksUri`, or to an issuer to discover it from, that begins with `http://localhost`,
    /// `http://127.…` or `http://[::1]`, with or without a port. `localhost` is connected to at
    /// loopback addresses only. Any other host is refused, whatever its name resolves to. The log
    /// warns of it at the start, and of each such URI.
    pub fn loopback_http_jwks(mut self) -> Self {
        self.loopback_http = true;
        self
    }

    /// Fetches keys at least this often, between once a second and once an hour. By default the mesh
    /// fetches them every 20 minutes, or as the issuer's `cache-control` says, within 1 to 60
    /// minutes. With this option `cache-control` may still shorten the time, but not lengthen it.
    ///
    /// A key that the issuer has withdrawn serves until the next fetch: this bounds how long a
    /// stolen key is good. istiod's setting of this is `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`.
    pub fn fetch_at_least_every(mut self, interval: Duration) -> Self {
        self.fetch_every = Some(interval);
        self
    }
}
