//! The ConfigMap in which Istio keeps its MeshConfig as YAML text.

use crate::istio::MeshConfig;
use crate::istio::decode;
use crate::istio::resource::mesh_config::{CONFIG_MAP, CONFIG_MAP_NAME};
use crate::istio::yaml::cursor::{Cursor, Sink};
use crate::istio::yaml::reader::{Limits, documents};
use crate::istio::yaml::suggest::nearest;
use crate::istio::yaml::tree::{Node, Style};

/// Whether this is the ConfigMap `istio` with a MeshConfig in it.
pub(super) fn is_mesh_config_map(document: &Node<'_>) -> bool {
    is_named_istio(document)
        && document.text("apiVersion") == Some("v1")
        && document.text("kind") == Some(CONFIG_MAP)
}

/// Whether this was meant to be that ConfigMap and, by its kind or version, is not.
pub(super) fn resembles_mesh_config_map(document: &Node<'_>) -> bool {
    let is_near = |kind| nearest(kind, [CONFIG_MAP]).is_some();
    is_named_istio(document)
        && !is_mesh_config_map(document)
        && document.text("kind").is_some_and(is_near)
}

fn is_named_istio(document: &Node<'_>) -> bool {
    document.name() == Some(CONFIG_MAP_NAME) && mesh(document).is_some()
}

/// The text of the MeshConfig in a ConfigMap.
pub(in crate::istio) fn mesh<'n, 't>(document: &'n Node<'t>) -> Option<&'n Node<'t>> {
    document.get("data").and_then(|data| data.get("mesh"))
}

/// The MeshConfig inside; problems with it point at the line of the ConfigMap where a block
/// (`mesh: |`) allows that.
pub(super) fn embedded_mesh_config(document: &Node<'_>, sink: &Sink) -> Option<MeshConfig> {
    let node = mesh(document)?;
    let text = node.scalar()?;
    let columns = match text.style {
        Style::Block => node.at.column.saturating_sub(1),
        Style::Plain | Style::Quoted => 0,
    };
    let inner = sink.inside(node.at.line.saturating_sub(1), columns);
    let config = match documents(&text.text, Limits::default(), &inner).next() {
        Some(root) if !root.is_null() => decode::mesh_config(&Cursor::root(&root, &inner)),
        _ => Some(MeshConfig::default()),
    };
    let (problems, notes) = inner.into_parts();
    for mut problem in problems {
        problem.field = format!("data.mesh: {}", problem.field)
            .trim_end_matches(": ")
            .to_owned();
        sink.report(problem);
    }
    notes.into_iter().for_each(|note| sink.note(note));
    config
}
