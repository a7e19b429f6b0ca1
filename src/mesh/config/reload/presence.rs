//! Finds out whether an ALLOW policy selects the workload, and which policies nearly do.

use std::collections::BTreeSet;

use super::protection::{PortProtections, Protection};
use crate::identity::Workload;
use crate::istio::{
    Action, AuthorizationPolicy, MeshConfig, Position, Problem, Problems, Resources, distance,
};
use crate::mesh::config::reading_log::start;
use crate::policy::near_misses;
use crate::source::Configuration;

/// Refuses a configuration without an enforced ALLOW policy for each port of the workload.
///
/// # Errors
///
/// Which ports have no ALLOW policy, and the policies that nearly select the workload.
pub(in crate::mesh) fn require_allow(
    protections: PortProtections<'_>,
    configuration: &Configuration,
    workload: &Workload,
) -> Result<(), Problems> {
    let Some(problem) = without_allow(protections, "and one is required (`require_policy`)") else {
        return Ok(());
    };
    let mut problems = near(configuration, workload);
    problems.push(problem);
    // INVARIANT: the list holds at least the problem that was just pushed.
    Problems::from_list(problems).map_or(Ok(()), Err)
}

/// Warns when no ALLOW policy selects the workload: all that no DENY policy refuses is allowed
/// then.
pub(in crate::mesh) fn warn_without_allow(
    protections: PortProtections<'_>,
    configuration: &Configuration,
    workload: &Workload,
) {
    let meaning = "so whatever no DENY policy refuses is allowed";
    let Some(problem) = without_allow(protections, meaning) else {
        return;
    };
    tracing::warn!(target: "tower_mesh::config", "{}", problem.message);
    let near = near(configuration, workload);
    for problem in near.iter().take(MOST) {
        tracing::warn!(
            target: "tower_mesh::config",
            %problem,
            "a policy that nearly selects this workload"
        );
    }
    if let Some(more) = near.len().checked_sub(MOST).filter(|more| *more > 0) {
        tracing::warn!(
            target: "tower_mesh::config",
            more,
            "more policies nearly select this workload"
        );
    }
    if near.is_empty() {
        warn_of_other_namespaces(configuration, workload);
    }
}

/// Logs which other namespaces have ALLOW policies: a policy without labels misses a workload only
/// by its namespace.
fn warn_of_other_namespaces(configuration: &Configuration, workload: &Workload) {
    let root = &configuration.mesh_config.root_namespace;
    let policies = configuration.resources.authorization_policies.iter();
    let elsewhere = policies.filter(|policy| {
        let namespace = &policy.meta.namespace;
        policy.action == Action::Allow && namespace != workload.namespace() && namespace != root
    });
    let namespaces: BTreeSet<_> = elsewhere
        .map(|policy| start(&policy.meta.namespace))
        .collect();
    if namespaces.is_empty() {
        return;
    }
    let some: Vec<_> = namespaces.iter().take(MOST).copied().collect();
    tracing::warn!(
        target: "tower_mesh::config",
        namespaces = some.join(", "),
        ours = workload.namespace(),
        "ALLOW policies of other namespaces were read"
    );
}

fn without_allow(protections: PortProtections<'_>, meaning: &str) -> Option<Problem> {
    let ports = protections.ports(Protection::Allow);
    let all = ports.into_iter().map(Some).chain([None]);
    let open: Vec<_> = all
        .filter(|port| !protections.has(Protection::Allow, *port))
        .collect();
    let on = match open.as_slice() {
        [] => return None,
        [None] if !protections.ports(Protection::Allow).is_empty() => {
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

/// The ALLOW policies that nearly select the workload.
pub(super) fn near(configuration: &Configuration, workload: &Workload) -> Vec<Problem> {
    let Configuration {
        resources,
        mesh_config,
        ..
    } = configuration;
    let policies = resources.authorization_policies.iter();
    let near = policies.filter(|policy| is_near(policy, mesh_config, workload));
    let few = Resources {
        authorization_policies: near.cloned().collect(),
        ..Resources::default()
    };
    near_misses(&few, mesh_config, workload)
}

/// Whether a policy misses the workload by one label, by a few letters of several labels, or by its
/// namespace alone.
fn is_near(policy: &AuthorizationPolicy, mesh: &MeshConfig, workload: &Workload) -> bool {
    if policy.action != Action::Allow || policy.dry_run || !policy.target_refs.is_empty() {
        return false;
    }
    let (namespace, labels) = (&policy.meta.namespace, &policy.selector.match_labels);
    let own = |key: &String| workload.labels().get(key);
    let off: Vec<_> = labels
        .iter()
        .filter(|(key, value)| own(key).is_none_or(|own| **own != ***value))
        .collect();
    let is_slip = |wanted: &str, found: &str| distance(wanted, found) <= SLIPS;
    if *namespace != workload.namespace() && *namespace != mesh.root_namespace {
        return off.is_empty() && (!labels.is_empty() || is_slip(namespace, workload.namespace()));
    }
    match off.as_slice() {
        [] => false,
        [_] => true,
        several => several
            .iter()
            .all(|(key, value)| own(key).is_some_and(|own| is_slip(value, own))),
    }
}

/// The most namespaces and policies that are logged.
const MOST: usize = 5;
/// The most wrong letters of a misspelt word.
const SLIPS: usize = 2;
