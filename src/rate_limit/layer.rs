//! Local limits as a tower layer.

use std::error::Error;
use std::fmt;
use std::ptr;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::limits::Limits;
use super::stats::LimitStats;
use crate::context::Exchange;
use crate::guard::{self, Guard, Guarded, Verdict};
use crate::identity::Workload;
use crate::policy::limit::{Limit, Stage};

/// The response future of [`RateLimited`].
pub type ResponseFuture<S, ReqBody, ResBody> = guard::ResponseFuture<S, ReqBody, ResBody>;

/// Refuses requests over a limit, in front of the inner service.
pub type RateLimited<S> = Guarded<S, RateLimitGuard>;

/// Applies [`RateLimited`]. Clones share their buckets, and so do all services that they make.
///
/// A limit that reads the peer or a token needs the layers that find them further out. One that
/// reads the path or headers should be behind a [`GateLayer`](crate::gate::GateLayer), so that
/// callers cannot write one path in several ways.
///
/// The layer counts in this process. A limit that only a rate limit service counts passes all
/// requests here, and a warning says so; a [`Mesh`](crate::Mesh) asks the service.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(RateLimitGuard);

/// The guard of a [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimitGuard {
    limits: Arc<Limits>,
}

impl RateLimitLayer {
    /// Starts a layer whose limits are checked: a limit that can never count is an error, as it is
    /// to a [`Mesh`](crate::Mesh).
    ///
    /// # Example
    /// ```
    /// use tower_mesh::policy::limit::{Limit, Local};
    /// use tower_mesh::rate_limit::RateLimitLayer;
    ///
    /// let limits = RateLimitLayer::builder().limit(Limit::new("reads").local(Local::default()));
    /// let error = limits.build().unwrap_err();
    /// assert_eq!(error.to_string(), r#"the limit "reads": its local part has no bucket"#);
    /// ```
    pub fn builder() -> RateLimitLayerBuilder {
        RateLimitLayerBuilder {
            limits: Vec::new(),
            workload: Workload::new("", ""),
            mistakes: Vec::new(),
        }
    }

    /// A layer that applies these limits, in this order.
    ///
    /// A limit that can never count is told in the log as an error, and passes all requests;
    /// [`builder`](Self::builder) refuses it.
    #[must_use]
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Self {
        Self::of_workload(limits, &Workload::new("", ""))
    }

    /// As [`new`](Self::new), for limits that name their own workload
    /// ([`Action::SourceCluster`](crate::policy::limit::Action::SourceCluster)).
    #[must_use]
    pub fn of_workload(limits: impl IntoIterator<Item = Limit>, workload: &Workload) -> Self {
        let mut builder = Self::builder().workload(workload);
        for limit in limits {
            builder = builder.limit(limit);
        }
        for mistake in &builder.mistakes {
            tracing::error!(
                %mistake,
                "a rate limit counts less than it says: `RateLimitLayer::builder` refuses it"
            );
        }
        Self::applying(&builder.limits, workload)
    }

    fn applying(limits: &[Limit], workload: &Workload) -> Self {
        for limit in limits.iter().filter(|limit| limit.spec.service.is_some()) {
            tracing::warn!(
                limit = limit.name,
                "this layer asks no rate limit service: only the local part of the limit holds"
            );
        }
        Self(RateLimitGuard {
            limits: Arc::new(Limits::default().next(limits, workload)),
        })
    }

    /// The guard of this layer, such as for [`MeshBuilder::guard`](crate::MeshBuilder::guard). It
    /// shares the buckets of the layer.
    #[must_use]
    pub fn guard(&self) -> RateLimitGuard {
        self.0.clone()
    }

    /// What each limit has done so far.
    #[must_use]
    pub fn stats(&self) -> Vec<LimitStats> {
        let limits = self.0.limits.iter();
        limits.map(|limit| LimitStats::new(limit)).collect()
    }
}

/// Gathers limits for a [`RateLimitLayer`]; made by [`RateLimitLayer::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RateLimitLayerBuilder {
    limits: Vec<Limit>,
    workload: Workload,
    mistakes: Vec<String>,
}

impl RateLimitLayerBuilder {
    /// Adds a limit behind those that are there.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.mistakes.extend(limit.mistakes_behind(&self.limits));
        self.limits.push(limit);
        self
    }

    /// Sets the workload, for limits that name it
    /// ([`Action::SourceCluster`](crate::policy::limit::Action::SourceCluster)); without a name by
    /// default.
    pub fn workload(mut self, workload: &Workload) -> Self {
        self.workload = workload.clone();
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// All limits, or parts of them, that can never count ([`Limit::mistake`]), and second limits
    /// of one name.
    pub fn build(self) -> Result<RateLimitLayer, RateLimitError> {
        match self.mistakes.is_empty() {
            true => Ok(RateLimitLayer::applying(&self.limits, &self.workload)),
            false => Err(RateLimitError(self.mistakes)),
        }
    }
}

/// Why a [`RateLimitLayer`] could not be built. `Display` shows all mistakes on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitError(Vec<String>);

impl RateLimitError {
    /// What is wrong, each with the name of its limit.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for RateLimitError {}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        Guarded::new(inner, self.0.clone())
    }
}

impl Guard for RateLimitGuard {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        // Mostly it is the very same text.
        let sent = head.uri.path();
        let is_other = |path: &&str| !ptr::eq(*path, sent) && *path != sent;
        let whole = exchange.path_of(head).filter(is_other);
        let whole = whole.map(str::to_owned);
        let mut judge = |stage| self.limits.judge(stage, head, whole.as_deref(), exchange);
        judge(Stage::Early).and_then(|()| judge(Stage::Late)).into()
    }
}
