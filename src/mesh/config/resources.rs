//! What the log says of a configuration that was read.

use std::collections::BTreeMap;

use crate::istio::{MeshConfig, Skipped, is_istio};
use crate::policy::Program;
use crate::source::Configuration;

/// Tells what loads but deserves a word, and what is not ours and was passed over.
pub(in crate::mesh) fn tell(configuration: &Configuration, program: &Program) {
    // The program's notes hold those of the resources, too.
    for note in bounded(&program.notes) {
        tracing::warn!(target: "tower_mesh::config", %note);
    }
    let resources = &configuration.resources;
    // It wins only where no file of its own holds the settings.
    let is_map_used = resources.mesh_config.as_ref() == Some(&configuration.mesh_config);
    let skipped = resources.skipped.iter();
    let skipped = skipped.filter(|one| !(is_map_used && one.is_mesh_config()));
    let (istios, others): (Vec<_>, Vec<_>) = skipped.partition(|one| is_istio(&one.api_version));
    for one in bounded(&others) {
        let Skipped {
            api_version,
            kind,
            name,
            at,
        } = one;
        tracing::info!(
            target: "tower_mesh::config",
            %at,
            api_version = start(api_version),
            kind = start(kind),
            name = start(name),
            "document skipped: its group is none of ours"
        );
    }
    let passed_over = configuration.passed_over.iter();
    let passed_over: Vec<_> = passed_over
        .filter(|file| !program.notes.contains(file))
        .collect();
    for file in bounded(&passed_over) {
        tracing::info!(target: "tower_mesh::config", note = %file);
    }
    more(passed_over.len(), "more files passed over");
    more(program.notes.len(), "more notes");
    more(others.len(), "more documents skipped");
    unsupported(&istios);
    unused(&configuration.mesh_config);
}

/// Istio's own kinds are meant for the mesh, which does nothing about them: one line for each kind.
fn unsupported(skipped: &[&Skipped]) {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in skipped {
        let kind = (start(&one.kind), start(&one.api_version));
        kinds.entry(kind).or_default().push(*one);
    }
    for ((kind, api_version), documents) in kinds.iter().take(MOST) {
        let Some(first) = documents.first() else {
            continue;
        };
        tracing::warn!(
            target: "tower_mesh::config",
            at = %first.at,
            kind,
            api_version,
            name = start(&first.name),
            documents = documents.len(),
            "documents of Istio that are not supported: they have no effect here"
        );
    }
    more(kinds.len(), "more kinds that are not supported");
}

fn unused(mesh_config: &MeshConfig) {
    let unused = &mesh_config.unused;
    if !unused.is_empty() {
        let fields: Vec<_> = bounded(unused).iter().map(|field| start(field)).collect();
        let fields = fields.join(", ");
        tracing::warn!(target: "tower_mesh::config", fields, "fields of the MeshConfig that are not supported: they have no effect here");
    }
}

fn bounded<T>(list: &[T]) -> &[T] {
    list.get(..MOST).unwrap_or(list)
}

fn more(count: usize, what: &str) {
    if count > MOST {
        tracing::info!(target: "tower_mesh::config", "{} {what}", count - MOST);
    }
}

/// A word of a document of someone else's, which may be of any length.
pub(in crate::mesh) fn start(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST).map(|(index, _)| index);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// So many lines of each sort; the dump of a cluster has thousands.
const MOST: usize = 50;
const LONGEST: usize = 100;
