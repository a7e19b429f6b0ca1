//! The option that adds a limit of the application.

use super::builder::MeshBuilder;
use crate::policy::limit::Limit;

impl MeshBuilder {
    /// Limits how many requests the workload takes, as a `mesh.tower/v1` RateLimit does. Every
    /// limit applies: those of the configuration, and then these, in the order in which they were
    /// added.
    ///
    /// A limit by what the request itself says, such as its address, method, path or headers, is
    /// judged before tokens and policies, and so counts also what they refuse. A limit by the
    /// caller's identity, its claims or an authorizer's metadata is judged behind them.
    ///
    /// A limit of a [service](Limit::service) needs the feature `rate-limit-service`, and a host
    /// that the mesh's client knows ([`upstream`](Self::upstream) or [`outside`](Self::outside)).
    ///
    /// Two limits of one name are a mistake, and so is a limit that can never count
    /// ([`Limit::mistake`]).
    ///
    /// # Example
    ///
    /// Each caller may send ten requests per second:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
    /// use tower_mesh::testing::Pki;
    /// use tower_mesh::{Mesh, Workload};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ten = TokenBucket::new(10, Duration::from_secs(1));
    /// let limit = Limit::new("callers")
    ///     .descriptor([Action::principal_or("none")])
    ///     .local(Local::default().descriptor([("principal", "")], ten));
    /// let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .rate_limit(limit)
    ///     .build()
    ///     .await?;
    /// # let _ = (mesh, driver);
    /// # Ok(()) }
    /// ```
    pub fn rate_limit(mut self, limit: Limit) -> Self {
        let mistakes = limit.mistakes_behind(&self.limits);
        let mistakes = mistakes.map(|mistake| format!("rate_limit: {mistake}"));
        self.mistakes.extend(mistakes);
        self.limits.push(limit);
        self
    }
}
