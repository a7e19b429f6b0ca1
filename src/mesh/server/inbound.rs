//! What all clones of the inbound layer share.

use std::fmt;
use std::sync::Arc;

use super::app_guards::AppGuards;
use super::connection::quiet_streams::QuietStreams;
use super::trusted_proxies::TrustedProxies;
use crate::access_log::AccessLogs;
use crate::concurrency::Limiter;
use crate::gate::{Gate, Refusals};
use crate::identity::SpiffeId;
use crate::jwt::Terms;
use crate::live::Live;
use crate::mesh::config::live::CompiledInbound;
use crate::mesh::watches::Observers;
use crate::metrics::ServerMetrics;
use crate::propagation::Propagation;
#[cfg(feature = "rate-limit-service")]
use crate::rate_limit::CountingService;
use crate::rbac::PolicyCheck;

/// What every inbound request passes, shared by all services of a
/// [`ServerLayer`](super::ServerLayer).
pub(in crate::mesh) struct Inbound {
    pub(in crate::mesh) config: Live<CompiledInbound>,
    /// Paths are normalized as the configuration says.
    pub(in crate::mesh) gate: Gate,
    pub(in crate::mesh) edge_gate: Gate,
    pub(in crate::mesh) refusals: Arc<Refusals>,
    /// Our own id.
    pub(in crate::mesh) id: SpiffeId,
    pub(in crate::mesh) propagation: Propagation,
    /// Traces at an edge, also of a mesh without identities.
    pub(in crate::mesh) edge_propagation: Propagation,
    pub(in crate::mesh) metrics: ServerMetrics,
    /// How the guard treats end-user tokens.
    pub(in crate::mesh) tokens: Terms,
    pub(in crate::mesh) rbac: PolicyCheck,
    /// Calls the services that count for limits.
    #[cfg(feature = "rate-limit-service")]
    pub(in crate::mesh) counting: Arc<dyn CountingService>,
    pub(in crate::mesh) guards: AppGuards,
    /// `None` if any number of requests may be under way.
    pub(in crate::mesh) concurrency: Option<Arc<Limiter>>,
    pub(in crate::mesh) quiet: QuietStreams,
    pub(in crate::mesh) access_logs: AccessLogs,
    pub(in crate::mesh) observers: Observers,
    pub(in crate::mesh) trusted_proxies: Arc<TrustedProxies>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}
