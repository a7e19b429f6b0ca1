//! Compiles every rule as the engine does, next to the rule as written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{Action, AuthorizationPolicy, MeshConfig, Problems, Resources, Rule, Selector};
use crate::policy::ir::Policy;
use crate::policy::{Chain, RuleSets, compile};

/// A rule, and what it compiles to.
#[derive(Clone, Debug)]
pub(in crate::vet) struct Compiled<'r> {
    pub(in crate::vet) policy: &'r AuthorizationPolicy,
    pub(in crate::vet) rule: &'r Rule,
    pub(in crate::vet) http: Policy,
    /// `None` where raw TCP drops it.
    pub(in crate::vet) tcp: Option<Policy>,
}

/// Compiles every rule, for any workload; a CUSTOM rule becomes the test that selects its requests.
///
/// # Errors
/// What keeps a rule from having a meaning.
pub(in crate::vet) fn compile_rules<'r>(
    policies: impl IntoIterator<Item = &'r AuthorizationPolicy>,
    mesh: &MeshConfig,
) -> Result<Vec<Compiled<'r>>, Problems> {
    let mut by_namespace: BTreeMap<&str, Vec<&AuthorizationPolicy>> = BTreeMap::new();
    for policy in policies {
        let of_namespace = by_namespace.entry(&policy.meta.namespace);
        of_namespace.or_default().push(policy);
    }
    let mut rules = Vec::new();
    for (namespace, policies) in by_namespace {
        let mut resources = Resources::default();
        for (index, policy) in policies.iter().enumerate() {
            let bare = bare_policy(index, policy);
            resources.authorization_policies.push(bare);
        }
        let workload = Workload::new(namespace, "");
        let program = compile(&resources, mesh, &workload)?;
        for (index, policy) in policies.into_iter().enumerate() {
            for (place, rule) in policy.rules.iter().enumerate() {
                let id = format!("ns[{namespace}]-policy[{index}]-rule[{place}]");
                let in_chain = |chain: &Chain| find(chain, &id).cloned();
                if let Some(http) = in_chain(&program.http.default) {
                    rules.push(Compiled {
                        policy,
                        rule,
                        http,
                        tcp: in_chain(&program.tcp.default),
                    });
                }
            }
        }
    }
    Ok(rules)
}

/// The policy for every workload of its namespace, under a name that no other has.
fn bare_policy(index: usize, policy: &AuthorizationPolicy) -> Arc<AuthorizationPolicy> {
    let mut bare = policy.clone();
    bare.meta.name = index.to_string();
    bare.selector = Selector::default();
    bare.target_refs.clear();
    bare.provider = None;
    bare.dry_run = false;
    if bare.action == Action::Custom {
        bare.action = Action::Audit;
    }
    Arc::new(bare)
}

fn find<'c>(chain: &'c Chain, id: &str) -> Option<&'c Policy> {
    let enforced = |set: &'c RuleSets| set.enforced.as_ref();
    let (deny, allow) = (enforced(&chain.deny), enforced(&chain.allow));
    let mut sets = [chain.audit.as_ref(), deny, allow].into_iter().flatten();
    sets.find_map(|set| set.policies.get(id))
}
