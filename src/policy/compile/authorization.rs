use std::sync::Arc;

use super::compiler::Compiler;
use super::custom;
use super::policies::{Policies, add_rules};
use super::selection::select;
use crate::istio::{Action, AuthorizationPolicy};
use crate::policy::Chain;
use crate::policy::ir::{Rbac, RbacAction};

/// The chains that every AuthorizationPolicy of the workload makes, for HTTP and for raw TCP.
#[derive(Default)]
pub(super) struct BothChains {
    pub(super) http: Chain,
    pub(super) tcp: Chain,
}

/// Compiles all AuthorizationPolicies; `None` when none selects the workload.
pub(super) fn chains(
    compiler: &mut Compiler<'_>,
    resources: &[Arc<AuthorizationPolicy>],
) -> Option<BothChains> {
    let selected = select(compiler, resources);
    if selected.is_empty() {
        return None;
    }
    let mut both = BothChains::default();
    let mut custom = custom::Providers::default();
    for policy in selected {
        check(compiler, policy);
        if policy.action == Action::Custom {
            custom.add(compiler, policy);
        } else {
            let (http, tcp) = (set(&mut both.http, policy), set(&mut both.tcp, policy));
            add_rules(compiler, policy, "", http, tcp);
        }
    }
    (both.http.custom, both.tcp.custom, both.tcp.unasked) = custom.filters(compiler);
    Some(both)
}

/// Refuses a policy that lacks something, or has too much, where that would change its meaning.
fn check(compiler: &mut Compiler<'_>, policy: &AuthorizationPolicy) {
    let refuses = matches!(policy.action, Action::Deny | Action::Custom);
    if policy.rules.is_empty() && refuses {
        let action = policy.action.as_str();
        let message =
            format!("{action} needs rules; write \"- {{}}\" as the only rule to match everything");
        compiler.refuse(&policy.meta.at, "spec.rules", message);
    }
    let can_try = matches!(policy.action, Action::Allow | Action::Deny);
    if policy.dry_run && !can_try {
        let message = "a dry run exists for ALLOW and DENY only; remove the annotation";
        let at = policy.meta.annotations.get(DRY_RUN);
        let at = at.map_or(&policy.meta.at, |text| text.at());
        compiler.refuse(at, format_args!("metadata.annotations[{DRY_RUN}]"), message);
    }
}

/// The set of a chain that a policy belongs to. It exists as soon as a policy is selected for it,
/// also when none of its rules is left.
fn set<'c>(chain: &'c mut Chain, policy: &AuthorizationPolicy) -> &'c mut Policies {
    let (action, set) = match (policy.action, policy.dry_run) {
        (Action::Audit, _) => (RbacAction::Log, &mut chain.audit),
        (Action::Deny | Action::Custom, false) => (RbacAction::Deny, &mut chain.deny.enforced),
        (Action::Deny | Action::Custom, true) => (RbacAction::Deny, &mut chain.deny.shadow),
        (Action::Allow, false) => (RbacAction::Allow, &mut chain.allow.enforced),
        (Action::Allow, true) => (RbacAction::Allow, &mut chain.allow.shadow),
    };
    let set = set.get_or_insert_with(|| Rbac {
        action,
        policies: Policies::new(),
    });
    &mut set.policies
}

const DRY_RUN: &str = "istio.io/dry-run";
