//! Refuses STRICT ports for a mesh that speaks plaintext.

use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{
    LegacyPolicy, Meta, MtlsMode, PeerAuthentication, Position, Problem, Problems, Resources,
};
use crate::policy::{Program, compile};
use crate::source::Configuration;

/// Refuses, for a mesh in plaintext, a configuration that makes a port of the workload STRICT.
///
/// # Errors
/// The resources that make it STRICT, each with its place and a remedy.
pub(in crate::mesh) fn refuse_strict(
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
    let strict = |resources: &Resources| {
        let program = compile(resources, &configuration.mesh_config, workload);
        program.ok().and_then(|program| strict_ports(&program))
    };
    let able = modern.chain(legacy);
    let able: Vec<_> = able
        .filter(|(_, alone)| strict(alone).is_some())
        .map(|(meta, _)| meta)
        .collect();
    // A resource that another one overrides is not to blame: without it the same ports are STRICT.
    let without = |meta: &Meta| strict(&without(&configuration.resources, &meta.at));
    let counts = |meta: &&&Meta| without(meta).as_ref() != Some(&ports);
    let guilty: Vec<_> = able.iter().filter(counts).collect();
    let named = if guilty.is_empty() {
        able.iter().collect()
    } else {
        guilty
    };
    let mut problems: Vec<_> = named.iter().map(|meta| problem(meta, &ports)).collect();
    if problems.is_empty() {
        let at = Position::new("the configuration".into(), 0, 0);
        problems.push(Problem::new(at, "", message("it", &ports)));
    }
    Problems::from_list(problems).map_or(Ok(()), Err)
}

/// The ports that take mutual TLS only, in words; `None` if there are none.
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
    let message = message(&format!("{kind} {name:?}"), ports);
    Problem::new(at.clone(), "", message)
}

fn message(what: &str, ports: &str) -> String {
    format!(
        "{what} makes {ports} STRICT, and the mesh speaks plaintext (`danger().plaintext()`), so \
         no caller could prove who it is; give the mesh an identity (`Mesh::builder`, \
         `tower-mesh pki` makes certificates), or for development write `mode: PERMISSIVE`"
    )
}

/// All resources that set modes, except the one that was written at this place.
fn without(all: &Resources, at: &Position) -> Resources {
    let modern = all.peer_authentications.iter();
    let legacy = all.legacy_policies.iter();
    Resources {
        peer_authentications: modern.filter(|one| one.meta.at != *at).cloned().collect(),
        legacy_policies: legacy.filter(|one| one.meta.at != *at).cloned().collect(),
        ..Resources::default()
    }
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
