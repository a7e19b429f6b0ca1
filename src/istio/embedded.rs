//! The ConfigMap in which Istio keeps its MeshConfig as YAML text.

use super::MeshConfig;
use super::cursor::{Cursor, Sink};
use super::decode;
use super::reader::{Limits, documents};
use super::tree::{Node, Style};

/// Whether this is the ConfigMap `istio` with a MeshConfig in it.
pub(super) fn is_mesh_config_map(document: &Node<'_>) -> bool {
    let is = |node: Option<&Node<'_>>, text: &str| {
        node.and_then(Node::scalar)
            .is_some_and(|scalar| scalar.text == text)
    };
    is(document.get("apiVersion"), "v1")
        && is(document.get("kind"), "ConfigMap")
        && is(
            document
                .get("metadata")
                .and_then(|metadata| metadata.get("name")),
            "istio",
        )
        && mesh(document).is_some()
}

fn mesh<'n, 't>(document: &'n Node<'t>) -> Option<&'n Node<'t>> {
    document.get("data").and_then(|data| data.get("mesh"))
}

/// The MeshConfig inside; problems with it point at the line of the ConfigMap where a block (`mesh: |`) allows that.
pub(super) fn embedded_mesh_config(document: &Node<'_>, sink: &Sink) -> Option<MeshConfig> {
    let node = mesh(document)?;
    let text = node.scalar()?;
    let inner = if text.style == Style::Block {
        sink.inside(node.line.saturating_sub(1), node.column.saturating_sub(1))
    } else {
        sink.inside(node.line.saturating_sub(1), 0)
    };
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
