//! The options of traces, metrics, access logs and observers.

use std::sync::Arc;

use crate::access_log::AccessLog;
use crate::matcher::path_redaction::PathRedaction;
use crate::mesh::watches::Observers;
use crate::message::Report;
use crate::metrics::Registry;
#[cfg(feature = "otlp")]
use crate::propagation::collector::Target;
use crate::propagation::{Propagation, SpanSink};

/// What a mesh reports about its requests and calls:
/// [`MeshBuilder::telemetry`](crate::MeshBuilder::telemetry).
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct TelemetryOptions {
    pub(in crate::mesh) propagation: Propagation,
    /// In place of the sink of the propagation.
    pub(in crate::mesh) exporter: Option<Arc<dyn SpanSink>>,
    pub(in crate::mesh) mistakes: Vec<String>,
    pub(in crate::mesh) registry: Registry,
    #[cfg(feature = "otlp")]
    pub(in crate::mesh) metrics_collector: Option<Target>,
    pub(in crate::mesh) records_allows: bool,
    pub(in crate::mesh) access_logs: Vec<AccessLog>,
    pub(in crate::mesh) hidden: PathRedaction,
    pub(in crate::mesh) request_observers: Observers,
    pub(in crate::mesh) call_observers: Observers,
}

impl TelemetryOptions {
    /// Sets how traces are propagated: formats, sampling, trust, and where spans go.
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    /// Uses a registry of metrics that is shared with others.
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Writes an access log: a line for each request, each call, or both, as its
    /// [`side`](AccessLog::side) says. Without this there is no access log. Each call adds one.
    ///
    /// The metrics `mesh_access_log_lines_total` and
    /// `mesh_access_log_dropped_total` count what becomes of the lines.
    ///
    /// ```
    /// use tower_mesh::access_log::{AccessLog, Side};
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default()
    ///     .access_log(AccessLog::text())
    ///     .access_log(AccessLog::json().side(Side::Client));
    /// # drop(options);
    /// ```
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.access_logs.push(log);
        self
    }

    /// Leaves parameters out of every path that the mesh tells of: in its access logs, in the tags
    /// of its spans (`http.url`, `url.path`, `url.full`), and in the events of refused requests.
    /// With `/patients/{id}`, `/patients/7/notes` is `/patients/{id}/notes`. Each call adds a
    /// template. Those of each [access log](AccessLog::redact_path) count for spans and events, too.
    ///
    /// What the application itself logs or notes is not covered. A template that cannot be used is
    /// a mistake that [`build`](crate::MeshBuilder::build) reports.
    ///
    /// ```
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default().redact_path("/patients/{id}");
    /// # drop(options);
    /// ```
    pub fn redact_path(mut self, template: &str) -> Self {
        if let Err(error) = self.hidden.add(template) {
            let mistake = format!("redact_path: {template:?}: {error}");
            self.mistakes.push(mistake);
        }
        self
    }

    /// Calls this once at the end of every inbound request, allowed or refused, answered or cut:
    /// for an audit log, or metrics of your own. Each call adds an observer; they are called in the
    /// order in which they were added.
    ///
    /// The [`Report`] has the method, the status, how the body ended, Envoy's flags, when it began
    /// and how long it took, the bytes of both bodies, and the
    /// [`Exchange`](crate::context::Exchange): the peer, the claims of a verified token, the trace,
    /// the target without tokens, Envoy's response code details, and the
    /// [`Decision`](crate::policy::Decision) of policy. A refusal by policy always has one;
    /// what was allowed has one only with [`record_allows`](Self::record_allows), or where an
    /// AUDIT policy or a dry run has marked it.
    ///
    /// It runs on the request path, in the task of the connection: it must not block or wait. Hand
    /// slow work to a bounded channel with `try_send`, and count what does not fit. A panic is
    /// contained, and affects neither the request nor the other observers. A request pays a few
    /// reference counts for it and no allocation, and nothing where there is no observer.
    ///
    /// Claims and targets may be personal data: keep no more than you need. Where only refusals
    /// matter, the log has them already, target `tower_mesh::access`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_mesh::message::Report;
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
    /// let observe = move |report: &Report<'_>| {
    ///     let details = report.exchange.and_then(|exchange| exchange.details());
    ///     let line = format!(
    ///         "{} {} {} by {}: {}",
    ///         report.status.map_or(0, |status| status.as_u16()),
    ///         report.method,
    ///         report.path.unwrap_or_default(),
    ///         report.peer.and_then(|peer| peer.principal()).unwrap_or("no identity"),
    ///         details.map_or("the application's answer", |details| details),
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
    pub fn on_complete(mut self, observer: impl Fn(&Report<'_>) + Send + Sync + 'static) -> Self {
        self.request_observers.add(observer);
        self
    }

    /// As [`on_complete`](Self::on_complete), for the calls of
    /// [`Mesh::client`](crate::Mesh::client): called once at the end of each, answered, failed or
    /// cut.
    ///
    /// A call that the client retries is one call. One that fails without a response has no status;
    /// its [`counted_status`](Report::counted_status) and its flags show the reason. The
    /// [`peer`](Report::peer) is the server that answered, and the exchange is that of the request
    /// during which the call was made.
    ///
    /// ```
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default().on_call_complete(|report| {
    ///     println!(
    ///         "{} {}{} {} after {:?}, {} bytes up and {} down",
    ///         report.method,
    ///         report.authority.unwrap_or_default(),
    ///         report.path.unwrap_or_default(),
    ///         report.flags,
    ///         report.duration,
    ///         report.request_bytes,
    ///         report.response_bytes(),
    ///     );
    /// });
    /// # drop(options);
    /// ```
    pub fn on_call_complete(
        mut self,
        observer: impl Fn(&Report<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.call_observers.add(observer);
        self
    }

    /// Keeps a record of the policy that allowed a request, too; what refused one is always kept.
    pub fn record_allows(mut self) -> Self {
        self.records_allows = true;
        self
    }
}
