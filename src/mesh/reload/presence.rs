use std::collections::BTreeSet;

use super::guard::{Guard, Guarded};
use crate::identity::Workload;
use crate::istio::{
    Action, AuthorizationPolicy, MeshConfig, Position, Problem, Problems, Resources, distance,
};
use crate::policy::near_misses;
use crate::source::Configuration;

/// Refuses a configuration without an enforced ALLOW policy for each port of the workload.
///
/// # Errors
///
/// That there is none, and the policies that nearly select the workload.
pub(in super::super) fn require_allow(
    guarded: Guarded<'_>,
    configuration: &Configuration,
    workload: &Workload,
) -> Result<(), Problems> {
    let Some(problem) = without_allow(guarded, "and one is required (`require_policy`)") else {
        return Ok(());
    };
    let mut problems = near(configuration, workload);
    problems.push(problem);
    // INVARIANT: there is the one that was just pushed.
    Problems::from_list(problems).map_or(Ok(()), Err)
}

/// Says so when nothing says who may call: what no DENY policy refuses is allowed.
pub(in super::super) fn warn_without_allow(
    guarded: Guarded<'_>,
    configuration: &Configuration,
    workload: &Workload,
) {
    let meaning = "so whatever no DENY policy refuses is allowed";
    let Some(problem) = without_allow(guarded, meaning) else {
        return;
    };
    tracing::warn!(target: "tower_mesh::config", "{}", problem.message);
    for problem in near(configuration, workload) {
        tracing::warn!(target: "tower_mesh::config", %problem, "a policy that nearly selects this workload");
    }
}

fn without_allow(guarded: Guarded<'_>, meaning: &str) -> Option<Problem> {
    let ports = guarded.ports(Guard::Allow);
    let all = ports.into_iter().map(Some).chain([None]);
    let open: Vec<_> = all
        .filter(|port| !guarded.has(Guard::Allow, *port))
        .collect();
    let on = match open.as_slice() {
        [] => return None,
        [None] if !guarded.ports(Guard::Allow).is_empty() => {
            " on ports that no service of it names".to_owned()
        }
        [.., None] => String::new(),
        ports => {
            let ports: Vec<_> = ports.iter().flatten().map(u16::to_string).collect();
            format!(" on port {}", ports.join(", "))
        }
    };
    let message = format!("no enforced ALLOW policy selects this workload{on}, {meaning}");
    let at = Position::new("the configuration".into(), 0, 0);
    Some(Problem::new(at, "", message))
}

/// The ALLOW policies that do not select the workload by little.
pub(super) fn near(configuration: &Configuration, workload: &Workload) -> Vec<Problem> {
    let Configuration {
        resources,
        mesh_config,
        ..
    } = configuration;
    let policies = resources.authorization_policies.iter();
    let near = policies.filter(|policy| is_near(policy, mesh_config, workload));
    let mut few = Resources::default();
    few.authorization_policies = near.cloned().collect();
    near_misses(&few, mesh_config, workload)
}

/// Whether one label, or only the namespace, keeps a policy from selecting the workload.
fn is_near(policy: &AuthorizationPolicy, mesh: &MeshConfig, workload: &Workload) -> bool {
    let counts = policy.action == Action::Allow && !policy.dry_run && policy.target_refs.is_empty();
    let (namespace, labels) = (&policy.meta.namespace, &policy.selector.match_labels);
    let others = labels.iter().filter(|(key, value)| {
        let own = workload.labels().get(*key);
        own.is_none_or(|own| **own != ***value)
    });
    let off: BTreeSet<_> = others.map(|(key, _)| key).collect();
    let is_ours = *namespace == workload.namespace() || *namespace == mesh.root_namespace;
    counts
        && if is_ours {
            off.len() == 1
        } else {
            off.is_empty()
                && (!labels.is_empty() || distance(namespace, workload.namespace()) <= SLIPS)
        }
}

/// Letters that a misspelt namespace may have wrong.
const SLIPS: usize = 2;
