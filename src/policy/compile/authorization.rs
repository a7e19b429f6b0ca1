use std::sync::Arc;

use super::compiler::Compiler;
use super::custom;
use super::policies::{Policies, name, rbac};
use super::rule::{Clauses, OnTcp, never};
use super::selection::select;
use crate::istio::{Action, AuthorizationPolicy};
use crate::policy::ir::RbacAction;
use crate::policy::{Chain, PolicyId, RuleSets};

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
    let (mut http, mut tcp) = (Sets::default(), Sets::default());
    let mut custom = custom::Providers::default();
    for policy in selected {
        check(compiler, policy);
        if policy.action == Action::Custom {
            custom.add(compiler, policy);
        } else {
            add(compiler, policy, &mut http, &mut tcp);
        }
    }
    (both.http.custom, both.tcp.custom) = custom.filters(compiler);
    http.store(&mut both.http);
    tcp.store(&mut both.tcp);
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

fn add(compiler: &mut Compiler<'_>, policy: &AuthorizationPolicy, http: &mut Sets, tcp: &mut Sets) {
    let (http, tcp) = (http.for_policy(policy), tcp.for_policy(policy));
    let on_tcp = match policy.action {
        Action::Allow => OnTcp::Drop,
        Action::Audit | Action::Custom | Action::Deny => OnTcp::Widen,
    };
    let meta = &policy.meta;
    for (index, rule) in policy.rules.iter().enumerate() {
        let id = PolicyId::new(name(policy, index));
        let clauses = Clauses::new(compiler, meta, index, rule);
        compiler
            .origins
            .insert(id.clone(), clauses.origin(&rule.at));
        tcp.extend(clauses.for_tcp(on_tcp).map(|rule| (id.clone(), rule)));
        http.push((id, clauses.for_http()));
    }
    if policy.rules.is_empty() {
        let id = PolicyId::new(name(policy, 0));
        tcp.push((id.clone(), never()));
        http.push((id, never()));
    }
}

/// The sets of one protocol; a set exists as soon as a policy is selected for it, also when none of
/// its rules is left.
#[derive(Default)]
struct Sets {
    audit: Option<Policies>,
    deny: Option<Policies>,
    deny_shadow: Option<Policies>,
    allow: Option<Policies>,
    allow_shadow: Option<Policies>,
}

impl Sets {
    fn for_policy(&mut self, policy: &AuthorizationPolicy) -> &mut Policies {
        let set = match (policy.action, policy.dry_run) {
            (Action::Audit, _) => &mut self.audit,
            (Action::Deny | Action::Custom, false) => &mut self.deny,
            (Action::Deny | Action::Custom, true) => &mut self.deny_shadow,
            (Action::Allow, false) => &mut self.allow,
            (Action::Allow, true) => &mut self.allow_shadow,
        };
        set.get_or_insert_default()
    }

    fn store(self, chain: &mut Chain) {
        let set =
            |action, policies: Option<Policies>| policies.map(|policies| rbac(action, policies));
        chain.audit = set(RbacAction::Log, self.audit);
        chain.deny = RuleSets {
            enforced: set(RbacAction::Deny, self.deny),
            shadow: set(RbacAction::Deny, self.deny_shadow),
        };
        chain.allow = RuleSets {
            enforced: set(RbacAction::Allow, self.allow),
            shadow: set(RbacAction::Allow, self.allow_shadow),
        };
    }
}

const DRY_RUN: &str = "istio.io/dry-run";
