//! What all clones of the guards share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::identity::Workload;
use crate::jwt::Terms;
use crate::live::Live;
use crate::mesh::config::live::CompiledInbound;
use crate::mesh::config::reload::Reloads;
use crate::metrics::Registry;

/// What all clones of [`Guards`](super::Guards) share.
pub(super) struct Parts {
    pub(super) workload: Workload,
    pub(super) config: Live<CompiledInbound>,
    pub(super) registry: Registry,
    pub(super) reloads: Reloads,
    /// How the guard treats end-user tokens.
    pub(super) terms: Terms,
    /// Whether the driver follows all that may change.
    pub(super) pulse: Option<Arc<AtomicBool>>,
}
