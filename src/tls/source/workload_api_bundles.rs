//! A source of the keys of JWT-SVIDs that reads the SPIFFE Workload API.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::{JwtBundle, JwtBundleSet, WorkloadApiClient};

use crate::error_chain::ErrorChain;
use crate::identity::TrustDomain;

use super::agent::{AgentStream, Answers, Question};
use super::contract::{JwtBundleSource, JwtBundles, NextJwtBundles, SourceError};

/// The keys of JWT-SVIDs from the SPIFFE Workload API, of our own trust domain and of those that it
/// federates with.
///
/// The crate `spiffe` reads the answers. It refuses an answer whole if a key of any domain has no
/// `kid`, so what is held then counts for a day; of two keys of a domain with one `kid` it keeps the
/// last; and it leaves out `spiffe_sequence`.
///
/// The source keeps a stream to the agent, as [`WorkloadApi`](crate::tls::WorkloadApi) does, and
/// fails, pauses and withdraws as that does. A mesh whose identity comes from the Workload API
/// needs none of its own. For others:
///
/// ```no_run
/// # async fn example() {
/// use tower_mesh::jwt::SvidKeys;
/// use tower_mesh::tls::{JwtBundleSource, WorkloadApiBundles};
///
/// let keys = SvidKeys::new();
/// let fed = keys.clone();
/// tokio::spawn(async move {
///     let mut agent = WorkloadApiBundles::at("unix:///run/spire/agent/public/api.sock");
///     loop {
///         match agent.next().await {
///             Ok(bundles) => {
///                 for refused in fed.replace(&bundles) {
///                     eprintln!("{refused}");
///                 }
///             }
///             Err(error) if error.is_withdrawn() => drop(fed.replace(&Default::default())),
///             Err(_) => fed.lose(),
///         }
///     }
/// });
/// # let _ = keys;
/// # }
/// ```
pub struct WorkloadApiBundles(AgentStream<Bundles>);

/// The question for the keys of JWT-SVIDs.
struct Bundles;

impl Question for Bundles {
    type Answer = JwtBundleSet;
    const EMPTY: &'static str = "JWTBundlesResponse.bundles";

    async fn ask(client: WorkloadApiClient) -> Result<Answers<JwtBundleSet>, WorkloadApiError> {
        Ok(Box::pin(client.stream_jwt_bundles().await?))
    }
}

impl WorkloadApiBundles {
    /// The agent whose address is in `SPIFFE_ENDPOINT_SOCKET` at the first request.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(None)
    }

    /// The agent behind this socket, `unix:///path`.
    #[must_use]
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self::new(Some(endpoint.into()))
    }

    pub(super) fn new(endpoint: Option<String>) -> Self {
        Self(AgentStream::new(endpoint))
    }

    async fn receive(&mut self) -> Result<JwtBundles, SourceError> {
        let answer = self.0.next().await?;
        let mut bundles = BTreeMap::new();
        for (domain, bundle) in answer.iter() {
            match TrustDomain::new(domain.as_str()) {
                Ok(domain) => drop(bundles.insert(domain, text(bundle))),
                Err(error) => tracing::warn!(
                    target: "tower_mesh::tls",
                    error = %ErrorChain(&error),
                    "the agent's bundle of a trust domain is left out: the name is none"
                ),
            }
        }
        Ok(bundles)
    }
}

impl JwtBundleSource for WorkloadApiBundles {
    fn next(&mut self) -> NextJwtBundles<'_> {
        Box::pin(self.receive())
    }
}

debug_fields!(WorkloadApiBundles(bundles) { endpoint = bundles.0.endpoint });

/// The bundle as a JWK set. SPIRE's agent leaves out `use`, because all its keys are for JWT-SVIDs.
fn text(bundle: &JwtBundle) -> String {
    let keys = bundle.jwt_authorities().filter_map(|authority| {
        let mut key: Map<String, Value> = serde_json::from_slice(authority.jwk_json()).ok()?;
        key.entry("use").or_insert_with(|| "jwt-svid".into());
        Some(key)
    });
    let mut keys: Vec<_> = keys.collect();
    // The same keys make the same text.
    keys.sort_by_cached_key(|key| key.get("kid").and_then(Value::as_str).map(str::to_owned));
    json!({ "keys": keys }).to_string()
}
