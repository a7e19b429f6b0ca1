//! Finds files of kustomize and Helm that hold no whole resources, and skips them with a note.
//!
//! A file is skipped only if it clearly belongs to one of these tools. A file that cannot be
//! parsed, or that holds a document with a `kind` of its own, is read like any other. A Helm
//! template is not valid YAML and stays an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::read::Contents;
use crate::istio::{
    CONFIG_MAP, Limits, Node, Problem, Sink, Value, documents, is_istio, is_our_kind,
    names_mesh_config,
};

/// Why a file is skipped.
#[derive(Debug)]
pub(in crate::source) struct PassedOver {
    reason: String,
    /// Whether the file would change a resource that is read without that change.
    pub(in crate::source) changes_ours: bool,
}

impl PassedOver {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            changes_ours: false,
        }
    }

    /// The note about the file with this name.
    pub(in crate::source) fn note(&self, file: &str) -> Problem {
        let message = format!("passed over: {}", self.reason);
        Problem::of_file(file, message)
    }
}

/// The files that are skipped, by index.
pub(in crate::source) fn passed_over(files: &[Contents]) -> BTreeMap<usize, PassedOver> {
    let mut passed = BTreeMap::new();
    let mut listed = Listed::default();
    let all = files.iter().map(|file| plain(Path::new(&file.name)));
    let all: BTreeSet<_> = all.collect();
    let mut charts: BTreeSet<&Path> = BTreeSet::new();
    for (index, file) in files.iter().enumerate() {
        let path = Path::new(&file.name);
        let reason = match name(path) {
            "kustomization.yaml" | "kustomization.yml" | "Kustomization" => {
                read(file, |roots| kustomization(path, roots, &all, &mut listed))
            }
            "Chart.yaml" => {
                charts.insert(folder(path));
                read(file, chart)
            }
            _ => None,
        };
        passed.extend(reason.map(|reason| (index, reason)));
    }
    for (index, file) in files.iter().enumerate() {
        let path = Path::new(&file.name);
        let reason = match listed.patches.get(&plain(path)) {
            Some(targets_ours) if !listed.resources.contains(&plain(path)) => {
                read(file, |roots| patch(roots, *targets_ours))
            }
            _ if is_values(path, charts.contains(folder(path))) => read(file, values),
            _ => None,
        };
        if let Some(reason) = reason {
            passed.entry(index).or_insert(reason);
        }
    }
    passed
}

/// The files that kustomizations list.
#[derive(Debug, Default)]
struct Listed {
    /// Patches. The value tells whether the patch's target is, or may be, of one of our kinds.
    patches: BTreeMap<PathBuf, bool>,
    resources: BTreeSet<PathBuf>,
}

/// Runs `ask` on the documents of a file. A file that cannot be parsed, or holds no document,
/// belongs to neither tool.
fn read(
    file: &Contents,
    ask: impl FnOnce(&[Node<'_>]) -> Option<PassedOver>,
) -> Option<PassedOver> {
    let text = file.text.as_ref().ok()?;
    let sink = Sink::new(&file.name);
    let roots = documents(text, Limits::default(), &sink);
    let roots: Vec<_> = roots.filter(|root| !root.is_null()).collect();
    let is_read = !roots.is_empty() && sink.is_good();
    is_read.then(|| ask(&roots)).flatten()
}

fn kustomization(
    path: &Path,
    roots: &[Node<'_>],
    all: &BTreeSet<PathBuf>,
    listed: &mut Listed,
) -> Option<PassedOver> {
    let is_theirs = |root: &Node<'_>| {
        let version = root.text("apiVersion");
        let kind = root.text("kind");
        root.entries().is_some()
            && version.is_none_or(|version| version.starts_with("kustomize.config.k8s.io/"))
            && kind.is_none_or(|kind| matches!(kind, "Kustomization" | "Component"))
    };
    if !roots.iter().all(is_theirs) {
        return None;
    }
    let folder = folder(path);
    let mut changes_ours = false;
    let mut idle = BTreeSet::new();
    let mut unread = Vec::new();
    for root in roots {
        for (key, moves) in CHANGES {
            if root.get(key).is_some_and(|value| !value.is_null()) {
                idle.insert(*key);
                changes_ours |= *moves;
            }
        }
        for key in ["resources", "bases", "components"] {
            for one in root.items(key).iter().filter_map(scalar) {
                let path = plain(&folder.join(one));
                let below = all.range(path.clone()..).next();
                if !below.is_some_and(|below| below.starts_with(&path)) {
                    unread.push(one);
                }
                listed.resources.insert(path);
            }
        }
        for key in ["patches", "patchesJson6902", "patchesStrategicMerge"] {
            for item in root.items(key) {
                let targets_ours = targets_ours(item);
                let named = scalar(item).or_else(|| item.text("path"));
                match named.filter(|path| !path.contains(['\n', '{'])) {
                    Some(path) => {
                        let path = plain(&folder.join(path));
                        listed.patches.insert(path, targets_ours);
                    }
                    None => {
                        let inline = named.or_else(|| item.text("patch")).unwrap_or_default();
                        changes_ours |= inline_changes_ours(inline, targets_ours);
                    }
                }
            }
        }
    }
    let mut reason = "it is kustomize's, which is not run".to_owned();
    if !idle.is_empty() {
        let idle: Vec<_> = idle.into_iter().collect();
        reason += &format!(", so that {} change nothing here", idle.join(", "));
    }
    if let Some(first) = unread.first() {
        // An address may hold a password, so it is not shown.
        let first = match first.contains(['@', ':', '?']) {
            true => "a resource from elsewhere".to_owned(),
            false => format!("{first:?}"),
        };
        let more = match unread.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        reason += &format!("; it lists {first}{more}, not read here");
    }
    Some(PassedOver {
        reason: reason + "; give what `kustomize build` prints",
        changes_ours: changes_ours || !unread.is_empty(),
    })
}

/// Whether a patch's target is, or may be, of one of our kinds, or the ConfigMap of the mesh's
/// settings.
fn targets_ours(item: &Node<'_>) -> bool {
    let Some(target) = item.get("target") else {
        return true;
    };
    let asked = |key| target.text(key).filter(|text| !text.is_empty());
    // Targets may be patterns; they are not evaluated here and count as a possible match.
    let is_pattern =
        |text: &str| text.contains(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-'));
    let name = asked("name");
    match (asked("group"), asked("kind")) {
        (Some(group), _) if is_istio(group) || is_pattern(group) => true,
        (_, Some(CONFIG_MAP)) => {
            name.is_none_or(|name| names_mesh_config(CONFIG_MAP, name) || is_pattern(name))
        }
        (Some(_), _) => false,
        (None, Some(kind)) => is_our_kind(kind) || !kind.chars().all(char::is_alphanumeric),
        (None, None) => true,
    }
}

/// A strategic merge patch is part of a resource; a JSON patch is a list of operations.
fn patch(roots: &[Node<'_>], targets_ours: bool) -> Option<PassedOver> {
    let reason = "a kustomization lists it as a patch, and kustomize is not run; \
        give what `kustomize build` prints";
    Some(PassedOver {
        changes_ours: roots.iter().any(|root| changes_ours(root, targets_ours)),
        ..PassedOver::new(reason)
    })
}

/// Whether a patch changes, or may change, one of our resources or the mesh's settings.
fn changes_ours(root: &Node<'_>, targets_ours: bool) -> bool {
    if matches!(root.value, Value::List(_)) {
        return targets_ours;
    }
    let Some(version) = root.text("apiVersion") else {
        return targets_ours;
    };
    let is_settings = || {
        let (kind, name) = (root.text("kind"), root.name());
        names_mesh_config(kind.unwrap_or_default(), name.unwrap_or_default())
    };
    let mut inner = root.items("items").iter();
    is_istio(version) || is_settings() || inner.any(|item| changes_ours(item, targets_ours))
}

/// As [`changes_ours`], for a patch that is written inside the kustomization.
fn inline_changes_ours(inline: &str, targets_ours: bool) -> bool {
    let sink = Sink::new("");
    let mut roots = documents(inline, Limits::default(), &sink);
    let changes = roots.any(|root| !root.is_null() && changes_ours(&root, targets_ours));
    changes || !sink.is_good() && (targets_ours || inline.contains("istio.io"))
}

fn chart(roots: &[Node<'_>]) -> Option<PassedOver> {
    let is_theirs = |root: &Node<'_>| {
        let version = root.text("apiVersion");
        root.get("kind").is_none()
            && root.text("name").is_some()
            && version.is_none_or(|version| matches!(version, "v1" | "v2"))
    };
    let reason = "it describes a Helm chart; give what `helm template` prints";
    let is_chart = roots.iter().all(is_theirs);
    is_chart.then(|| PassedOver::new(reason))
}

fn values(roots: &[Node<'_>]) -> Option<PassedOver> {
    let is_theirs = |root: &Node<'_>| {
        root.entries().is_some() && root.get("apiVersion").is_none() && root.get("kind").is_none()
    };
    roots.iter().all(is_theirs).then(|| {
        let reason = "it holds values for Helm, which is not run; give what `helm template` prints";
        PassedOver {
            changes_ours: roots.iter().any(holds_ours),
            ..PassedOver::new(reason)
        }
    })
}

/// Whether values hold one of our resources; charts accept extra objects as values.
fn holds_ours(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Scalar(scalar) => {
            let mut ours = OUR_VERSIONS.iter();
            ours.any(|version| scalar.text.contains(version))
        }
        Value::List(items) => items.iter().any(holds_ours),
        Value::Map(entries) => entries.iter().any(|entry| holds_ours(&entry.value)),
    }
}

/// Whether this is the name of a values file: `values.yaml` anywhere, or `values-prod.yaml` next to
/// a chart.
fn is_values(path: &Path, is_in_chart: bool) -> bool {
    match name(path) {
        "values.yaml" | "values.yml" => true,
        "values.schema.json" => is_in_chart,
        name => {
            let rest = name.strip_prefix("values");
            is_in_chart && rest.is_some_and(|rest| rest.starts_with(['-', '.', '_']))
        }
    }
}

fn name(path: &Path) -> &str {
    let name = path.file_name();
    name.and_then(|name| name.to_str()).unwrap_or_default()
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A path without `.` and `..`, resolved without access to the disk.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    plain
}

fn scalar<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    node.scalar().map(|scalar| &*scalar.text)
}

/// How the `apiVersion` of our resources begins.
const OUR_VERSIONS: &[&str] = &[
    "security.istio.io/",
    "authentication.istio.io/",
    "rbac.istio.io/",
];

/// The fields with which a kustomization changes resources. The value tells whether the field may
/// create resources, or change what a policy says or which workloads it selects.
const CHANGES: &[(&str, bool)] = &[
    ("components", false),
    ("generators", true),
    ("helmCharts", true),
    ("namePrefix", false),
    ("nameSuffix", false),
    ("namespace", true),
    ("patches", false),
    ("patchesJson6902", false),
    ("patchesStrategicMerge", false),
    ("replacements", true),
    ("transformers", true),
    ("vars", true),
];

#[cfg(test)]
mod tests;
