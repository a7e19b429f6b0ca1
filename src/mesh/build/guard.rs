//! The options that add guards: one of the application, and a limit.

use super::builder::MeshBuilder;
use crate::concurrency::ConcurrencyLimit;
use crate::guard::Guard;

impl MeshBuilder {
    /// Limits how many inbound requests may be under way at once, before anything but the gate has
    /// judged them. See [`concurrency`](crate::concurrency). Without this there is no limit but
    /// those of the [listener](Self::listener).
    ///
    /// The metrics `mesh_concurrency_limit`, `mesh_concurrency_in_flight` and
    /// `mesh_concurrency_refused_total` show it.
    pub fn concurrency(mut self, limit: ConcurrencyLimit) -> Self {
        self.concurrency = Some(limit);
        self
    }

    /// Adds a guard, which judges every inbound request that tokens and policies let pass, before
    /// the application gets it. Several guards judge in the order in which they were added, each
    /// when the one before it has let the request pass.
    ///
    /// A [`Guard`] answers at once, or with a [`Question`](crate::guard::Question): then the
    /// request waits, its body untouched. While it waits, it counts as under way: a shutdown gives
    /// it the grace period, and a caller that goes away ends it together with the question. The
    /// configuration that was in use when it came judges it, also when another one has replaced
    /// that meanwhile. What the question calls belongs to the trace of the request. The wait has no
    /// bound of its own: give the question one.
    ///
    /// A refusal is counted, traced, logged and observed like one by policy. A mesh without guards
    /// pays nothing for them.
    ///
    /// # Panics in callbacks
    ///
    /// When a guard or its question panics, the request is refused with 500 and the details
    /// `handler_panicked`; other requests, also those of the same connection, go on.
    ///
    /// # Example
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use axum::{Router, routing::get};
    /// use http::request::Parts;
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_mesh::context::Exchange;
    /// use tower_mesh::guard::{Answer, Guard, Question, Verdict};
    /// use tower_mesh::message::LocalReply;
    /// use tower_mesh::testing::Pki;
    /// use tower_mesh::{Mesh, Peer, Workload};
    ///
    /// /// Each workload has a quota, which another service keeps.
    /// struct Quotas;
    ///
    /// /// Stands for a call: `client.get("http://quotas.default/…")`.
    /// async fn is_within_quota(caller: &str) -> bool {
    ///     !caller.ends_with("/sa/greedy")
    /// }
    ///
    /// impl Guard for Quotas {
    ///     fn judge(&self, _: &mut Parts, exchange: &Exchange) -> Verdict {
    ///         let principal = exchange.peer().and_then(Peer::principal);
    ///         let Some(caller) = principal.map(str::to_owned) else {
    ///             return Verdict::Pass;
    ///         };
    ///         Verdict::Ask(Question::new(async move {
    ///             let within = is_within_quota(&caller);
    ///             let asked = tokio::time::timeout(Duration::from_millis(200), within);
    ///             match asked.await {
    ///                 // A keeper that does not answer in time stops nobody.
    ///                 Ok(true) | Err(_) => Answer::Pass,
    ///                 Ok(false) => Answer::Refuse(LocalReply::new(
    ///                     StatusCode::TOO_MANY_REQUESTS,
    ///                     "quota exceeded",
    ///                     "quota_exceeded",
    ///                 )),
    ///             }
    ///         }))
    ///     }
    /// }
    ///
    /// let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .guard(Quotas)
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    ///
    /// let app = mesh.protect(Router::new().route("/patients", get(|| async { "none" })));
    /// for (caller, status) in [("desk", 200), ("greedy", 429)] {
    ///     let id = format!("spiffe://cluster.local/ns/default/sa/{caller}").parse()?;
    ///     let peer = Peer::proven("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?, id);
    ///     let request = Request::get("/patients").header("host", "patients").extension(peer);
    ///     let answer = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
    ///     assert_eq!(answer.status(), status);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn guard(mut self, guard: impl Guard + Send + Sync + 'static) -> Self {
        self.guards.push(guard);
        self
    }
}
