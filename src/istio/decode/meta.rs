//! Decodes metadata, selectors and targetRefs.

use std::collections::BTreeMap;

use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, Problem, Selector, TargetRef, Text};

/// The fields of a document.
pub(in crate::istio) const DOCUMENT: &[&str] =
    &["apiVersion", "kind", "metadata", "spec", "status"];

const METADATA: &[&str] = &[
    "name",
    "namespace",
    "annotations",
    "labels",
    "creationTimestamp",
    "clusterName",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "initializers",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether a kind lives in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::istio) enum Scope {
    Cluster,
    Namespace,
}

/// `apiVersion`, `kind` and `metadata`. `None` when the resource has no usable name.
pub(in crate::istio) fn meta(
    document: Fields<'_, '_>,
    scope: Scope,
    default_namespace: &str,
) -> Option<Meta> {
    let metadata = document.demand("metadata", "is missing; write a map with a name")?;
    let metadata = metadata.fields(METADATA)?;
    let name = metadata.demand("name", "is missing; write a name")?;
    let name = name.filled().filter(|text| is_name(&name, text))?;
    // An empty namespace is what a template without a value leaves; Kubernetes takes it as none.
    let namespace = match metadata.get("namespace") {
        _ if scope == Scope::Cluster => String::new(),
        Some(at) => match at.str()? {
            "" => default_namespace.to_owned(),
            text => is_name(&at, text).then(|| text.to_owned())?,
        },
        None => default_namespace.to_owned(),
    };
    Some(Meta {
        kind: document.string("kind"),
        api_version: document.string("apiVersion"),
        name: name.into(),
        namespace,
        annotations: annotations(metadata),
        created: timestamp(metadata),
        at: document.whole().at(),
    })
}

/// Names become parts of policy names (`ns[..]-policy[..]-rule[..]`), which must stay readable and
/// unambiguous.
fn is_name(at: &Cursor<'_, '_>, text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let ok = text.len() <= 253 && text.chars().all(good);
    if !ok {
        at.wrong(format!(
            "`{text}` is no name; write at most 253 letters, digits, hyphens and dots"
        ));
    }
    ok
}

fn annotations(metadata: Fields<'_, '_>) -> BTreeMap<String, Text> {
    let Some(annotations) = metadata.get("annotations") else {
        return BTreeMap::new();
    };
    annotations
        .pairs()
        .filter_map(|(key, value)| {
            let scalar = value.node().scalar();
            // Other tools' annotations are theirs, whatever quotation marks they hold.
            let text = if key.starts_with("istio.io/") || scalar.is_none() {
                value.text()?
            } else {
                Text::new(&*scalar?.text, value.at())
            };
            Some((key.to_owned(), text))
        })
        .collect()
}

/// When the resource was created, as Kubernetes writes it, so that times sort as text.
fn timestamp(metadata: Fields<'_, '_>) -> Option<String> {
    let at = metadata.get("creationTimestamp")?;
    let text = at.str()?;
    let pattern = "0000-00-00T00:00:00Z";
    let fits = text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, due)| match due {
                b'0' => byte.is_ascii_digit(),
                _ => byte == due,
            });
    if !fits {
        at.wrong(format!(
            "`{text}` is no time as Kubernetes writes it; write for example 2024-05-31T08:00:00Z or leave it out"
        ));
        return None;
    }
    Some(text.to_owned())
}

/// `istio.io/dry-run`, on a resource that may carry it when `allowed`; otherwise `why` says what to
/// do instead.
pub(super) fn dry_run(meta: &Meta, at: &Cursor<'_, '_>, allowed: Result<(), &str>) -> bool {
    const NAME: &str = "istio.io/dry-run";
    let Some(value) = meta.annotations.get(NAME) else {
        return false;
    };
    let report = |message: String| {
        let field = format!("metadata.annotations[{NAME}]");
        let problem = Problem::new(value.at().clone(), field, message);
        at.sink().report(problem);
        false
    };
    if let Err(why) = allowed {
        return report(why.to_owned());
    }
    match value.as_str() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        other => report(format!(
            "`{other}` is no boolean; write \"true\" or \"false\""
        )),
    }
}

/// That a resource that cannot be tried out does not ask for it.
pub(super) fn no_dry_run(meta: &Meta, at: &Cursor<'_, '_>) {
    let why = "only an AuthorizationPolicy can run dry; leave the annotation out";
    dry_run(meta, at, Err(why));
}

/// `spec.selector`.
pub(super) fn selector(spec: Fields<'_, '_>) -> Selector {
    match spec.get("selector") {
        Some(at) => match_labels(&at, "matchLabels", &["matchLabels"]),
        None => Selector::default(),
    }
}

/// A selector whose labels are in the field `name`, the only one `known`.
pub(super) fn match_labels(
    at: &Cursor<'_, '_>,
    name: &'static str,
    known: &'static [&'static str],
) -> Selector {
    let selector = Selector {
        at: at.at(),
        ..Selector::default()
    };
    let Some(fields) = at.fields(known) else {
        return Selector::default();
    };
    let Some(labels) = fields.get(name) else {
        at.note("selects every workload of the namespace; leave it out to say so");
        return selector;
    };
    let mut match_labels = BTreeMap::new();
    for (key, value) in labels.pairs() {
        let Some(text) = value.text() else { continue };
        if key.is_empty() {
            value.wrong("a label's name must not be empty");
        } else if key.contains('*') || text.contains('*') {
            value.wrong("labels are compared exactly; `*` is not supported here");
        } else if text.len() > 63 {
            value.wrong("a label's value has at most 63 characters");
        }
        match_labels.insert(key.to_owned(), text);
    }
    if labels.node().entries().is_some_and(<[_]>::is_empty) {
        labels.note("selects every workload of the namespace; leave it out to say so");
    }
    Selector {
        match_labels,
        ..selector
    }
}

/// Reads `spec.targetRef` and `spec.targetRefs`. Only one of them may be written, and only without a
/// selector.
pub(super) fn target_refs(spec: Fields<'_, '_>) -> Vec<TargetRef> {
    let written = ["selector", "targetRef", "targetRefs"].into_iter();
    let written = written.filter_map(|name| spec.get(name));
    if let Some(second) = written.skip(1).last() {
        second.wrong("only one of selector, targetRef and targetRefs may be written");
    }
    let mut refs = spec.each("targetRefs", target_ref);
    if let Some(list) = spec.get("targetRefs")
        && refs.len() > 16
    {
        list.wrong("has more than 16 entries; write several resources");
    }
    refs.extend(spec.get("targetRef").and_then(|one| target_ref(&one)));
    refs
}

fn target_ref(at: &Cursor<'_, '_>) -> Option<TargetRef> {
    let fields = at.fields(&["group", "kind", "name", "namespace"])?;
    let target = TargetRef {
        group: fields.string("group"),
        kind: fields.string("kind"),
        name: fields.string("name"),
        at: at.at(),
    };
    let known = matches!(
        (target.group.as_str(), target.kind.as_str()),
        ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !known {
        at.wrong(format!(
            "kind `{}` of group `{}` cannot be a target; write a Service, a ServiceEntry (networking.istio.io), a Gateway or a \
             GatewayClass (gateway.networking.k8s.io)",
            target.kind, target.group
        ));
    }
    if target.name.is_empty() {
        at.missing("name", "is missing; write the target's name");
    }
    if let Some(namespace) = fields.get("namespace")
        && namespace.str() != Some("")
    {
        namespace.wrong("a target is in the resource's own namespace; leave this out");
    }
    Some(target)
}
