//! Which mesh says how a registry is shown.

#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken when a mesh is built and when its configuration changes"
)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::MetricsPlan;
use crate::metrics::registry::Registry;

/// One mesh that counts in a registry. The registry is shown by one plan, so meshes that share it
/// must have the same. Clones are the same owner, which is gone with the last of them.
#[derive(Clone)]
pub(crate) struct PlanOwner {
    registry: Registry,
    token: Arc<()>,
}

/// The plans of the meshes that share a registry.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Claims(Mutex<Vec<Claim>>);

#[derive(Debug)]
struct Claim {
    owner: Weak<()>,
    plan: Option<MetricsPlan>,
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

impl Claims {
    fn set(&self, owner: &Arc<()>, plan: Option<&MetricsPlan>, is_forced: bool) -> bool {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|claim| claim.owner.strong_count() > 0);
        let is_own = |claim: &Claim| std::ptr::eq(claim.owner.as_ptr(), &**owner);
        let mut others = claims.iter().filter(|claim| !is_own(claim));
        let agree = others.all(|claim| claim.plan.as_ref() == plan);
        if agree || is_forced {
            claims.retain(|claim| !is_own(claim));
            claims.push(Claim {
                owner: Arc::downgrade(owner),
                plan: plan.cloned(),
            });
        }
        agree
    }
}

impl fmt::Debug for PlanOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanOwner").finish_non_exhaustive()
    }
}
