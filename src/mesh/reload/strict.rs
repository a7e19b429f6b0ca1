use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{
    LegacyPolicy, Meta, MtlsMode, PeerAuthentication, Problem, Problems, Resources,
};
use crate::policy::{Program, compile};
use crate::source::Configuration;

/// Refuses, for a mesh in plaintext, a configuration that makes a port of the workload STRICT.
///
/// # Errors
/// The resources that do, each with its place and what can be done.
pub(in super::super) fn refuse_strict(
    program: &Program,
    configuration: &Configuration,
    workload: &Workload,
) -> Result<(), Problems> {
    let Some(ports) = strict_ports(program) else {
        return Ok(());
    };
    let modern = configuration.resources.peer_authentications.iter();
    let modern = modern.map(|one| (&one.meta, only_modern(one)));
    let legacy = configuration.resources.legacy_policies.iter();
    let legacy = legacy.map(|one| (&one.meta, only_legacy(one)));
    let guilty = modern.chain(legacy).filter(|(_, alone)| {
        let alone = compile(alone, &configuration.mesh_config, workload);
        alone.is_ok_and(|program| strict_ports(&program).is_some())
    });
    let mut problems: Vec<_> = guilty.map(|(meta, _)| problem(meta, &ports)).collect();
    if problems.is_empty() {
        // Several of them together do.
        let all = configuration.resources.peer_authentications.iter();
        problems.extend(all.map(|one| problem(&one.meta, &ports)));
    }
    Problems::from_list(problems).map_or(Ok(()), Err)
}

/// Which ports take mutual TLS only, in words.
fn strict_ports(program: &Program) -> Option<String> {
    let mtls = &program.mtls;
    let is_strict = |mode: &Option<MtlsMode>| *mode == Some(MtlsMode::Strict);
    if is_strict(&mtls.default) {
        return Some("this workload".to_owned());
    }
    let strict = mtls.by_port.iter().filter(|(_, mode)| is_strict(mode));
    let ports: Vec<_> = strict.map(|(port, _)| port.to_string()).collect();
    (!ports.is_empty()).then(|| format!("port {} of this workload", ports.join(", ")))
}

fn problem(meta: &Meta, ports: &str) -> Problem {
    let Meta { kind, name, at, .. } = meta;
    let message = format!(
        "{kind} {name:?} makes {ports} STRICT, and the mesh speaks plaintext (`danger().plaintext()`), so no caller could prove who it \
         is; give the mesh an identity (`MeshBuilder::identity`, `tower-mesh pki` makes certificates), or for development write `mode: PERMISSIVE`"
    );
    Problem::new(at.clone(), "", message)
}

fn only_modern(one: &Arc<PeerAuthentication>) -> Resources {
    Resources {
        peer_authentications: vec![Arc::clone(one)],
        ..Resources::default()
    }
}

fn only_legacy(one: &Arc<LegacyPolicy>) -> Resources {
    Resources {
        legacy_policies: vec![Arc::clone(one)],
        ..Resources::default()
    }
}
