//! Which mesh says how a registry is shown.

use std::fmt;
use std::sync::Arc;

use super::Registry;
use crate::metrics::plan::MetricsPlan;

/// One mesh that counts in a registry. The registry is shown by one plan, so meshes that share it
/// must have the same. Clones are the same owner, which is gone with the last of them.
#[derive(Clone)]
pub(crate) struct PlanOwner {
    registry: Registry,
    token: Arc<()>,
}

impl PlanOwner {
    /// A mesh that has no plan yet.
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            token: Arc::default(),
        }
    }

    /// Claims that the registry is shown by this plan, unless another mesh has another plan.
    /// Returns whether all agree. Nothing is shown otherwise yet.
    pub(crate) fn claim(&self, plan: Option<&MetricsPlan>) -> bool {
        self.registry.claims().set(&self.token, plan, false)
    }

    /// Shows the registry by this plan from now on; `None` shows everything as it is counted.
    /// Returns whether all meshes agree.
    pub(crate) fn show(&self, plan: Option<&MetricsPlan>) -> bool {
        let agree = self.registry.claims().set(&self.token, plan, true);
        self.registry.set_plan(plan.cloned());
        agree
    }
}

impl fmt::Debug for PlanOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanOwner").finish_non_exhaustive()
    }
}
