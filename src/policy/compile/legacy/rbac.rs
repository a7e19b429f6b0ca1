use std::collections::HashSet;
use std::sync::Arc;

use super::super::authorization::BothChains;
use super::super::compiler::Compiler;
use super::super::policies::Policies;
use super::super::rule::clause::{Clause, Node, all_of};
use super::super::selection::refuse_double;
use super::roles;
use super::service::Service;
use super::subjects::{self, Callers};
use crate::istio::{EnforcementMode, ServiceRole, ServiceRoleBinding};
use crate::policy::ir::{Permission, Policy, Principal, Rbac, RbacAction};
use crate::policy::{Chain, PolicyId, RuleOrigin};

/// The roles of the workload's namespace, each with its bindings.
pub(super) struct Roles<'r> {
    roles: Vec<(&'r ServiceRole, Vec<&'r ServiceRoleBinding>)>,
}

impl<'r> Roles<'r> {
    /// Brings roles and bindings of one namespace together by name.
    pub(super) fn new(
        compiler: &mut Compiler<'_>,
        roles: &'r [Arc<ServiceRole>],
        bindings: &'r [Arc<ServiceRoleBinding>],
    ) -> Self {
        let own = compiler.workload.namespace().to_owned();
        let mut names = HashSet::new();
        let mut known = Vec::new();
        let bindings: Vec<_> = bindings
            .iter()
            .filter(|binding| binding.meta.namespace == own)
            .collect();
        for role in roles.iter().filter(|role| role.meta.namespace == own) {
            if !names.insert(role.meta.name.as_str()) {
                refuse_double(compiler, &role.meta);
            }
            let of_role = bindings
                .iter()
                .filter(|binding| *binding.role == *role.meta.name);
            let of_role: Vec<_> = of_role.map(|binding| &***binding).collect();
            if of_role.is_empty() {
                let message = format!(
                    "ServiceRole {:?} has no ServiceRoleBinding and grants nothing",
                    role.meta.name
                );
                compiler.note(&role.meta.at, "metadata.name", message);
            }
            known.push((&**role, of_role));
        }
        for binding in bindings {
            check(compiler, binding, &names);
        }
        Self { roles: known }
    }

    /// The ALLOW filter of one port, for HTTP and for raw TCP.
    pub(super) fn chains(
        &self,
        compiler: &mut Compiler<'_>,
        service: &Service<'_>,
        callers: Callers,
        mode: EnforcementMode,
    ) -> BothChains {
        let mut enforced = Both::default();
        let mut shadow = Both::default();
        for (role, bindings) in &self.roles {
            let permissions = roles::permissions(compiler, role, service);
            let is_permissive = |binding: &&&ServiceRoleBinding| {
                mode == EnforcementMode::Permissive || binding.mode == EnforcementMode::Permissive
            };
            let (permissive, binding): (Vec<_>, Vec<_>) = bindings.iter().partition(is_permissive);
            enforced.add(compiler, callers, role, &permissions, &binding);
            shadow.add(compiler, callers, role, &permissions, &permissive);
        }
        let set = |policies| Rbac {
            action: RbacAction::Allow,
            policies,
        };
        let chain = |enforced: Policies, shadow: Policies| {
            let mut chain = Chain::default();
            let on_trial = mode == EnforcementMode::Permissive;
            chain.allow.shadow = (on_trial || !shadow.is_empty()).then(|| set(shadow));
            chain.allow.enforced = (!on_trial).then(|| set(enforced));
            chain
        };
        BothChains {
            http: chain(enforced.http, shadow.http),
            tcp: chain(enforced.tcp, shadow.tcp),
        }
    }
}

fn check(compiler: &mut Compiler<'_>, binding: &ServiceRoleBinding, roles: &HashSet<&str>) {
    if !binding.actions.is_empty() {
        let message =
            "inline actions are not supported; write a ServiceRole and name it in roleRef";
        compiler.refuse(&binding.meta.at, "spec.actions", message);
    } else if !roles.contains(binding.role.as_str()) {
        let (name, role) = (&binding.meta.name, binding.role.as_str());
        let message = format!(
            "ServiceRoleBinding {name:?} names the ServiceRole {role:?}, which its namespace does \
             not have, and grants nothing"
        );
        compiler.note(binding.role.at(), "spec.roleRef.name", message);
    }
}

/// The policies of one set, for HTTP and for raw TCP.
#[derive(Default)]
struct Both {
    http: Policies,
    tcp: Policies,
}

impl Both {
    fn add(
        &mut self,
        compiler: &mut Compiler<'_>,
        callers: Callers,
        role: &ServiceRole,
        permissions: &[Vec<Clause<Permission>>],
        bindings: &[&&ServiceRoleBinding],
    ) {
        let mut principals = Vec::new();
        for binding in bindings {
            let subjects = binding.subjects.iter().enumerate();
            principals.extend(subjects.map(|(index, subject)| {
                subjects::clauses(compiler, callers, &binding.meta, index, subject)
            }));
        }
        let id = PolicyId::new(role.meta.name.as_str());
        let origin = RuleOrigin {
            at: role.meta.at.clone(),
            ..RuleOrigin::default()
        };
        compiler.origins.insert(id.clone(), origin);
        for (set, http) in [(&mut self.http, true), (&mut self.tcp, false)] {
            let policy = policy(permissions, &principals, http);
            set.extend(policy.map(|policy| (id.clone(), policy)));
        }
    }
}

/// A role's policy; `None` when no rule or no subject is left, and then the role grants nothing.
fn policy(
    permissions: &[Vec<Clause<Permission>>],
    principals: &[Vec<Clause<Principal>>],
    http: bool,
) -> Option<Policy> {
    Some(Policy {
        permissions: entries(permissions, http)?,
        principals: entries(principals, http)?,
    })
}

/// For raw TCP an entry that asks for HTTP is left out, alone.
fn entries<N: Node>(entries: &[Vec<Clause<N>>], http: bool) -> Option<Vec<N>> {
    let mut nodes = Vec::new();
    for clauses in entries {
        if http || !clauses.iter().any(|clause| clause.http_only) {
            let tests = clauses.iter().flat_map(|clause| &clause.tests);
            nodes.push(all_of(tests.cloned().collect()));
        }
    }
    (!nodes.is_empty()).then_some(nodes)
}
