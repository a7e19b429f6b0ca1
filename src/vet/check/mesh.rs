//! Runs the mesh's own compiler for each known workload: what a mesh refuses becomes an error, and
//! what it warns of becomes a note. A line that has a note already gets no second one.

use crate::istio::{DENIES_TCP, Meta, Position, Problem, ProblemKind, Resources, TargetRef};
use crate::policy::{Program, compile};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::{Known, Scope, Selects, World};
use crate::vet::world::supposed::supposed;

/// Notes what the loader refuses, and could read all the same.
pub(in crate::vet) fn readable(world: World<'_>, problems: &[Problem], notes: &mut Notes) {
    for problem in problems {
        refused(world.resources, problem, notes);
    }
}

/// Adds notes about what a mesh refuses or warns of; `readable` is what the loader refused.
pub(in crate::vet) fn check(world: World<'_>, readable: &[Problem], notes: &mut Notes) {
    let resources = world.resources;
    let refuse = |problem: &Problem, notes: &mut Notes| {
        let is_told = notes.tells(&problem.at, true) || is_same(resources, readable, problem);
        if !is_told {
            refused(resources, problem, notes);
        }
    };
    for known in world.workloads {
        match compile(resources, world.mesh, &known.workload) {
            Ok(program) => warned(world, known, &program, notes),
            Err(problems) => {
                // The services of a workload from a Deployment may be in other files.
                let may_be_elsewhere = |problem: &&Problem| {
                    !known.is_stated()
                        && known.workload.services().is_empty()
                        && problem.field.is_empty()
                };
                let problems = problems.as_slice().iter();
                for problem in problems.filter(|problem| !may_be_elsewhere(problem)) {
                    refuse(problem, notes);
                }
            }
        }
    }
    for (workload, part) in supposed(world) {
        if let Err(problems) = compile(&part, world.mesh, &workload) {
            for problem in problems.as_slice() {
                refuse(problem, notes);
            }
        }
    }
    attached(world, notes);
    for note in &resources.notes {
        // Istio says it of every such rule, in case that raw TCP comes in.
        if note.message != DENIES_TCP && !notes.tells(&note.at, false) {
            // A whole file has no annotation.
            let is_file = note.at.line == 0 && !note.at.file.is_empty();
            let help = if is_file { LOOK_AT_FILE } else { LOOK };
            add(resources, Code::MeshWarns, note, help, notes);
        }
    }
}

/// Whether the loader has refused this for the same reason at the other one of two places.
fn is_same(resources: &Resources, readable: &[Problem], problem: &Problem) -> bool {
    let mut peers = resources.peer_authentications.iter();
    let wide =
        peers.find(|peer| peer.meta.at == problem.at && peer.selector.match_labels.is_empty());
    let Some(peer) = wide.filter(|_| problem.kind == ProblemKind::Ageless) else {
        return false;
    };
    readable.iter().any(|known| {
        let owner = owner(resources, &known.at);
        known.kind == ProblemKind::Ageless
            && owner.is_some_and(|owner| owner.namespace == peer.meta.namespace)
    })
}

fn refused(resources: &Resources, problem: &Problem, notes: &mut Notes) {
    let (code, help) = match problem.kind {
        ProblemKind::TypographicQuotes => (
            Code::TypographicQuotes,
            "write plain quotation marks, or none",
        ),
        ProblemKind::Duplicate => (Code::DuplicateResource, "take one out, or rename it"),
        ProblemKind::Ageless => (
            Code::AgelessPeerAuthentication,
            "keep one; in a cluster the older one counts, and a file has no age",
        ),
        ProblemKind::Unreadable => (
            Code::MeshRefuses,
            "correct it, or state what the mesh states of this workload, its services too",
        ),
    };
    add(resources, code, problem, help, notes);
}

/// What the compiler notes about a workload, without the notes of the loader.
fn warned(world: World<'_>, known: &Known, program: &Program, notes: &mut Notes) {
    let resources = world.resources;
    let own = program.notes.iter();
    for note in own.filter(|note| !resources.notes.contains(note)) {
        let (code, help) = match note.field.as_str() {
            // The gateways of a workload from a Deployment are not known.
            "spec.targetRefs" if !known.is_stated() => continue,
            "spec.targetRefs" => (Code::TargetRefsElsewhere, BY_LABELS),
            _ => (Code::MeshWarns, LOOK),
        };
        if !notes.tells(&note.at, false) {
            add(resources, code, note, help, notes);
        }
    }
}

/// Resources that attach to what no workload is, where of workloads nothing is known.
fn attached(world: World<'_>, notes: &mut Notes) {
    let mut tell = |meta: &Meta, targets: &[TargetRef], scope: Scope<'_>| {
        let Some(first) = targets.first() else { return };
        // Which workload is a gateway only its labels say.
        let may_be_ours = targets.iter().any(|target| target.kind == "Gateway");
        if !may_be_ours && !world.is_known(scope) {
            let message = format!(
                "no workload of a mesh is a {}, so this is for none: targetRefs attach to gateways and waypoints",
                first.kind
            );
            notes.add(
                Code::TargetRefsElsewhere,
                meta,
                &first.at,
                message,
                BY_LABELS,
            );
        }
    };
    for policy in &world.resources.authorization_policies {
        tell(&policy.meta, &policy.target_refs, policy.scope());
    }
    for resource in &world.resources.request_authentications {
        tell(&resource.meta, &resource.target_refs, resource.scope());
    }
}

fn add(resources: &Resources, code: Code, problem: &Problem, help: &str, notes: &mut Notes) {
    let at = &problem.at;
    let meta = passed_over(resources, at).or_else(|| owner(resources, at).cloned());
    let message = match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("`{field}` {}", problem.message),
    };
    notes.add(code, &meta.unwrap_or_default(), at, message, help);
}

/// The skipped document at a place, as a resource with only its name.
fn passed_over(resources: &Resources, at: &Position) -> Option<Meta> {
    let before = resources
        .skipped
        .iter()
        .filter(|skipped| skipped.at.file == at.file && skipped.at <= *at);
    let skipped = before.max_by_key(|skipped| &skipped.at)?;
    let is_its = owner(resources, at).is_none_or(|own| own.at < skipped.at);
    is_its.then(|| Meta {
        kind: skipped.kind.clone(),
        api_version: skipped.api_version.clone(),
        name: skipped.name.clone(),
        at: skipped.at.clone(),
        ..Meta::default()
    })
}

/// The resource at a place: the last one that begins before it.
fn owner<'r>(resources: &'r Resources, at: &Position) -> Option<&'r Meta> {
    let before = resources
        .metas()
        .filter(|meta| meta.at.file == at.file && meta.at <= *at);
    before.max_by_key(|meta| &meta.at)
}

const LOOK_AT_FILE: &str = "vet what is rendered, or leave the file out of what is read";
const LOOK: &str = "see whether it is meant so, and silence it with the reason if it is";
const BY_LABELS: &str = "select the workload by its labels, with `selector`";
