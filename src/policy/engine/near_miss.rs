use crate::identity::Workload;
use crate::istio::{self, AuthorizationPolicy, MeshConfig, Problem, Resources};
use crate::policy::compile::GATEWAY_LABEL;

/// AuthorizationPolicies that do not select the workload: what each selects, and what the workload
/// has instead. Those that the fewest letters keep from it come first, ten at most.
///
/// Ask when no policy applies where one was expected: a misspelt label opens a workload without a
/// word.
#[must_use]
pub fn near_misses(resources: &Resources, mesh: &MeshConfig, workload: &Workload) -> Vec<Problem> {
    let policies = resources.authorization_policies.iter();
    let mut misses: Vec<_> = policies
        .filter_map(|policy| near_miss(policy, mesh, workload))
        .collect();
    // Stable: of equally near ones the first written comes first.
    misses.sort_by_key(|(distance, _)| *distance);
    misses.truncate(MOST);
    misses.into_iter().map(|(_, problem)| problem).collect()
}

/// How far a policy is from the workload, and what keeps it away; `None` when it selects it.
fn near_miss(
    policy: &AuthorizationPolicy,
    mesh: &MeshConfig,
    workload: &Workload,
) -> Option<(usize, Problem)> {
    let meta = &policy.meta;
    let resource = format!("AuthorizationPolicy {}/{}", meta.namespace, meta.name);
    if let [target, ..] = policy.target_refs.as_slice() {
        if workload.labels().contains_key(GATEWAY_LABEL) {
            return None;
        }
        let (kind, name) = (&target.kind, &target.name);
        let message = format!("{resource} is attached to the {kind} {name} by targetRefs");
        let problem = Problem::new(target.at.clone(), "spec.targetRefs", message);
        return Some((FAR, problem));
    }
    let (namespace, labels) = (workload.namespace(), workload.labels());
    let mut words = Vec::new();
    let mut distance = 0;
    let is_ours = meta.namespace == namespace || meta.namespace == mesh.root_namespace;
    if !is_ours {
        words.push(format!("the workload is in namespace {namespace}"));
        distance += slip(&meta.namespace, namespace);
    }
    for (key, wanted) in &policy.selector.match_labels {
        match labels.get(key) {
            Some(label) if *label == **wanted => {}
            Some(label) => {
                words.push(format!("the workload has {key}={label}"));
                distance += slip(wanted, label);
            }
            None => {
                words.push(format!("the workload has no label {key}"));
                let keys = labels.keys().map(|known| slip(key, known));
                distance += keys.min().unwrap_or(LONG);
            }
        }
    }
    if words.is_empty() {
        return None;
    }
    let labels = policy.selector.match_labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let selected = match labels.as_slice() {
        [] => format!("the workloads of namespace {}", meta.namespace),
        labels => labels.join(", "),
    };
    let (at, field) = if is_ours {
        (&policy.selector.at, "spec.selector")
    } else {
        (&meta.at, "metadata.namespace")
    };
    let message = format!("{resource} selects {selected}; {}", words.join(", "));
    Some((distance, Problem::new(at.clone(), field, message)))
}

/// How many letters two words differ by; one at least.
fn slip(wanted: &str, found: &str) -> usize {
    // Computing the distance takes time quadratic in the length.
    if wanted.len().max(found.len()) > LONG {
        return LONG;
    }
    istio::distance(wanted, found).clamp(1, LONG)
}

/// No slip of the pen.
const LONG: usize = 64;
/// More are no help.
const MOST: usize = 10;
/// Sorts after every policy that a label or a namespace keeps away.
const FAR: usize = usize::MAX;
