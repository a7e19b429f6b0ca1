use std::sync::Arc;

use super::compiler::Compiler;
use super::{authorization, legacy, limits, mtls, tokens};
use crate::identity::Workload;
use crate::istio::{MeshConfig, Problem, Problems, Resources};
use crate::policy::{Authentication, PerPort, Program};

/// Compiles the resources for one workload, completely or not at all.
///
/// Rules that name our trust domain mean the one that `mesh` writes, else the one that the workload
/// states ([`Workload::trust_domain`]), else `cluster.local`; [`Program::assumes_trust_domain`]
/// tells of the last.
///
/// # Errors
/// Everything that keeps the resources from having a meaning, each with its place: values that are
/// no addresses, ports or templates, unknown keys, two resources where only one can count, legacy
/// resources for a workload that states no services.
///
/// # Differences from Istio
/// - Two PeerAuthentications of one scope (two legacy Policies of one target) without creation
///   times are refused: a file has no times, and without them Istio's "the oldest counts" has no
///   answer.
/// - Two resources of one kind, namespace and name are refused; in a cluster there cannot be two.
/// - Legacy: a constraint with an unknown key is refused (Istio left it out, which widened the
///   grant), and so is a rule that names no services (Istio 1.1 took it for none, 1.3 for all).
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use tower_mesh::Workload;
/// use tower_mesh::istio::{AuthorizationPolicy, MeshConfig, Resources};
/// use tower_mesh::policy::compile;
///
/// let mut nobody = AuthorizationPolicy::default();
/// nobody.meta.name = "nobody".to_owned();
/// nobody.meta.namespace = "default".to_owned();
/// let mut resources = Resources::default();
/// resources.authorization_policies.push(Arc::new(nobody));
///
/// let workload = Workload::new("default", "patients");
/// let program = compile(&resources, &MeshConfig::default(), &workload)?;
/// let allow = program.http.get(8080).allow.enforced.as_ref();
/// assert!(allow.is_some_and(|allow| allow.policies.contains_key("ns[default]-policy[nobody]-rule[0]")));
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
pub fn compile(
    resources: &Resources,
    mesh: &MeshConfig,
    workload: &Workload,
) -> Result<Program, Problems> {
    let mut compiler = Compiler::new(mesh, &resources.authorizers, workload);
    compiler.notes.extend(resources.notes.iter().cloned());
    let program = program(&mut compiler, resources);
    match Problems::from_list(distinct(compiler.problems)) {
        Some(problems) => Err(problems),
        None => Ok(Program {
            notes: distinct(compiler.notes),
            origins: compiler.origins,
            assumes_trust_domain: compiler.assumes_trust_domain,
            ..program
        }),
    }
}

/// Sorts by place and removes duplicates: a resource compiled for several ports reports a mistake
/// several times.
fn distinct(mut found: Vec<Problem>) -> Vec<Problem> {
    let key = |problem: &Problem| {
        (
            problem.at.clone(),
            problem.field.clone(),
            problem.message.clone(),
        )
    };
    found.sort_by_cached_key(key);
    found.dedup();
    found
}

fn program(compiler: &mut Compiler<'_>, resources: &Resources) -> Program {
    let chains = authorization::chains(compiler, &resources.authorization_policies);
    let rules = tokens::rules(compiler, &resources.request_authentications);
    let modes = mtls::modes(compiler, &resources.peer_authentications);
    let replaced = legacy::Replaced {
        authorization: chains.is_some(),
        tokens: rules.is_some(),
        modes: modes.as_ref(),
    };
    let legacy = legacy::compile(compiler, resources, &replaced);

    let mut program = Program {
        limits: limits::limits(compiler, &resources.rate_limits),
        path_normalization: compiler.mesh.path_normalization,
        ..Program::default()
    };
    match chains {
        Some(chains) => {
            program.http = PerPort::same(Arc::new(chains.http));
            program.tcp = PerPort::same(Arc::new(chains.tcp));
        }
        None => (program.http, program.tcp) = (legacy.http, legacy.tcp),
    }
    program.authentication = match rules {
        Some(rules) => PerPort::same(Authentication {
            rules,
            legacy: None,
        }),
        None => legacy.authentication,
    };
    program.mtls = match modes {
        Some(modes) => modes.map(Some),
        None => legacy.modes,
    };
    program
}
