//! The log lines about a configuration that was read: notes, skipped documents, unused fields.

use std::collections::BTreeMap;

use crate::istio::{MeshConfig, Skipped, is_istio};
use crate::policy::Program;
use crate::source::Configuration;

/// Logs the notes on what was loaded, and the documents that are not Istio's and were skipped.
pub(in crate::mesh) fn tell(configuration: &Configuration, program: &Program) {
    // The program's notes include those of the resources.
    for note in bounded(&program.notes) {
        tracing::warn!(target: "tower_mesh::config", %note);
    }
    let resources = &configuration.resources;
    // The MeshConfig of a ConfigMap is used only where no file holds one.
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

/// Istio's kinds are meant for the mesh, which does not act on these: one line for each kind.
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
        tracing::warn!(
            target: "tower_mesh::config",
            fields,
            "fields of the MeshConfig that are not supported: they have no effect here"
        );
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

/// The start of a text from a document, which may be of any length.
pub(in crate::mesh) fn start(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST).map(|(index, _)| index);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The most lines of each sort; the dump of a cluster has thousands of documents.
const MOST: usize = 50;
const LONGEST: usize = 100;
