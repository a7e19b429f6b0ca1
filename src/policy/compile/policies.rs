use crate::istio::AuthorizationPolicy;
use crate::policy::PolicyId;
use crate::policy::ir::{Policy, Rbac, RbacAction};

/// The policies of a set, before they are put in order.
pub(super) type Policies = Vec<(PolicyId, Policy)>;

/// A set of policies under one action.
pub(super) fn rbac(action: RbacAction, policies: Policies) -> Rbac {
    Rbac {
        action,
        policies: policies.into_iter().collect(),
    }
}

/// A rule's name, as Envoy reports it.
pub(super) fn name(policy: &AuthorizationPolicy, rule: usize) -> String {
    let (namespace, name) = (&policy.meta.namespace, &policy.meta.name);
    format!("ns[{namespace}]-policy[{name}]-rule[{rule}]")
}
