//! The options about providers of CUSTOM policies.

use std::sync::Arc;

use super::builder::MeshBuilder;
use crate::external::{Authorizer, AuthorizerOptions, DecisionCache};

impl MeshBuilder {
    /// Registers a provider that CUSTOM policies can name, in this process. It has one second for
    /// each answer, and no request passes without one;
    /// [`authorizer_with`](Self::authorizer_with) has other options.
    ///
    /// A name has one meaning: if MeshConfig or an `Authorizer` resource defines the name, too, then
    /// every request for it is refused, and the log says so.
    ///
    /// # Example
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_mesh::external::{
    ///     Authorization, AuthorizationRequest, Authorizer, AuthorizerError, CacheKey, DecisionCache,
    /// };
    /// use tower_mesh::source::Fixed;
    /// use tower_mesh::testing::Pki;
    /// use tower_mesh::{Mesh, Peer, Workload};
    ///
    /// /// Asks a list of those who are on duty.
    /// struct Duty;
    ///
    /// impl Authorizer for Duty {
    ///     async fn authorize(
    ///         &self,
    ///         request: AuthorizationRequest,
    ///     ) -> Result<Authorization, AuthorizerError> {
    ///         Ok(match request.principal() {
    ///             Some(caller) if caller.ends_with("/sa/desk") => Authorization::allow(),
    ///             _ => Authorization::deny(),
    ///         })
    ///     }
    /// }
    ///
    /// let policy = "
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: on-duty, namespace: default}
    /// spec:
    ///   action: CUSTOM
    ///   provider: {name: duty}
    ///   rules: [{to: [{operation: {paths: [/patients*]}}]}]
    /// ";
    /// let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .config(Fixed::yaml("duty.yaml", policy))
    ///     .authorizer("duty", Duty)
    ///     .decision_cache("duty", DecisionCache::keyed_by([CacheKey::Principal]))
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    ///
    /// let app = mesh.protect(Router::new().route("/patients", get(|| async { "none" })));
    /// for (caller, status) in [("desk", 200), ("web", 403)] {
    ///     let id = format!("spiffe://cluster.local/ns/default/sa/{caller}").parse()?;
    ///     let peer = Peer::proven("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?, id);
    ///     let request = Request::get("/patients").header("host", "patients").extension(peer);
    ///     let answer = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
    ///     assert_eq!(answer.status(), status);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn authorizer(self, name: impl Into<String>, authorizer: impl Authorizer) -> Self {
        self.authorizer_with(name, AuthorizerOptions::new(), authorizer)
    }

    /// As [`authorizer`](Self::authorizer), with options.
    pub fn authorizer_with(
        mut self,
        name: impl Into<String>,
        options: AuthorizerOptions,
        authorizer: impl Authorizer,
    ) -> Self {
        let authorizer = Arc::new(authorizer);
        self.providers.authorizer(name.into(), authorizer, options);
        self
    }

    /// Caches the decisions of a provider, whoever defines it: see [`DecisionCache`] for what a
    /// decision is found by, and what not. A provider that a resource gives a cache, too, uses this
    /// one. Rules in CEL are not cached, because they are decided faster than a cache; nor are
    /// decisions of a provider that sees the body.
    ///
    /// The cache outlives a reload that changes neither the provider nor the cache.
    ///
    /// The metrics `mesh_decision_cache_total` (by provider and result),
    /// `mesh_decision_cache_entries` and `mesh_decision_cache_bytes` show what it does.
    pub fn decision_cache(mut self, provider: impl Into<String>, cache: DecisionCache) -> Self {
        self.providers.cache(provider.into(), cache);
        self
    }
}
