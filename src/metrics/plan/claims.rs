//! The plans that meshes want a registry to be shown by.

#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken when a mesh is built and when its configuration changes"
)]

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::MetricsPlan;

/// The plans of the meshes that share a registry.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Claims(Mutex<Vec<Claim>>);

#[derive(Debug)]
struct Claim {
    owner: Weak<()>,
    plan: Option<MetricsPlan>,
}

impl Claims {
    /// Claims that the registry is shown by this plan for this owner, which has one claim. Returns
    /// whether all agree; if not, the claim is made only if it is forced.
    pub(in crate::metrics) fn set(
        &self,
        owner: &Arc<()>,
        plan: Option<&MetricsPlan>,
        is_forced: bool,
    ) -> bool {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|claim| claim.owner.strong_count() > 0);
        let owner = Arc::downgrade(owner);
        let is_own = |claim: &Claim| claim.owner.ptr_eq(&owner);
        let mut others = claims.iter().filter(|claim| !is_own(claim));
        let agree = others.all(|claim| claim.plan.as_ref() == plan);
        if agree || is_forced {
            claims.retain(|claim| !is_own(claim));
            let plan = plan.cloned();
            claims.push(Claim { owner, plan });
        }
        agree
    }
}
