use std::fmt;
use std::sync::Arc;

use crate::mesh::server::{Completed, Observer};
use crate::metrics::Registry;
use crate::propagation::Propagation;

/// What a mesh lets its owners see: [`MeshBuilder::telemetry`](crate::MeshBuilder::telemetry).
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct TelemetryOptions {
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) registry: Registry,
    pub(in crate::mesh) records_allows: bool,
    pub(in crate::mesh) observer: Observers,
}

impl TelemetryOptions {
    /// How traces travel: formats, sampling, what is trusted, where spans go.
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    /// A registry of metrics that is shared with others.
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Calls this once at the end of every inbound request, allowed or refused, answered or cut:
    /// for an audit log, or metrics of your own. The last observer that is given counts.
    ///
    /// [`Completed`] has the method, the status, how the body ended, Envoy's flags, the whole
    /// duration, and the [`Exchange`](crate::context::Exchange): the peer, the claims of a
    /// verified token, the trace, the target without tokens, Envoy's response code details, and
    /// the [`Decision`](crate::policy::Decision) of policy. A refusal by policy always has one;
    /// what was allowed has one only with [`record_allows`](Self::record_allows), or where an
    /// AUDIT policy or a dry run has marked it.
    ///
    /// It runs on the request path, in the task of the connection: it must not block, wait or
    /// panic. Hand what is slow to a bounded channel with `try_send`, and count what does not fit.
    /// A request pays two counts of references for it and no allocation, and nothing where there
    /// is no observer. Claims and targets may be personal data: keep no more than you need. Where
    /// only refusals matter, the log has them already, target `tower_mesh::access`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_mesh::mesh::Completed;
    /// use tower_mesh::source::Fixed;
    /// use tower_mesh::testing::Pki;
    /// use tower_mesh::{Mesh, Peer, Workload};
    ///
    /// let policies = "
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: readers}
    /// spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
    /// ";
    /// let (audit, mut lines) = tokio::sync::mpsc::channel(1024);
    /// let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let observe = move |completed: &Completed<'_>| {
    ///     let exchange = completed.exchange;
    ///     let line = format!(
    ///         "{} {} {} by {}: {}",
    ///         completed.status.map_or(0, |status| status.as_u16()),
    ///         completed.method,
    ///         exchange.path().unwrap_or_default(),
    ///         exchange.peer().and_then(|peer| peer.principal()).unwrap_or("no identity"),
    ///         exchange.details().map_or("the application's answer", |details| details),
    ///     );
    ///     // A full channel drops the line, and never the request's time.
    ///     let _ = audit.try_send(line);
    /// };
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .config(Fixed::yaml("policies.yaml", policies))
    ///     .telemetry(|telemetry| telemetry.on_complete(observe))
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    ///
    /// let app = mesh.protect(Router::new().route("/patients", get(|| async { "none" })));
    /// for request in [Request::get("/patients"), Request::delete("/patients")] {
    ///     let peer = Peer::plaintext("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?);
    ///     let request = request.header("host", "patients").extension(peer);
    ///     let answer = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
    ///     // The request ends with its body, here with the drop of it.
    ///     drop(answer);
    /// }
    /// assert_eq!(
    ///     lines.recv().await.unwrap(),
    ///     "200 GET /patients by no identity: the application's answer"
    /// );
    /// assert_eq!(
    ///     lines.recv().await.unwrap(),
    ///     "403 DELETE /patients by no identity: rbac_access_denied_matched_policy[none]"
    /// );
    /// # Ok(()) }
    /// ```
    pub fn on_complete(
        mut self,
        observer: impl Fn(&Completed<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Observers(Some(Arc::new(observer)));
        self
    }

    /// Keeps a record of what allowed a request, too; what refused one is always kept.
    pub fn record_allows(mut self) -> Self {
        self.records_allows = true;
        self
    }
}

/// The observer, if any; apart so that it has a `Debug`.
#[derive(Clone, Default)]
pub(in crate::mesh) struct Observers(pub(in crate::mesh) Option<Observer>);

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.is_some()).finish()
    }
}
