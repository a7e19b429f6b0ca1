use std::collections::HashSet;
use std::sync::Arc;

use super::compiler::Compiler;
use crate::identity::Workload;
use crate::istio::{
    AuthorizationPolicy, Meta, Problem, ProblemKind, RateLimit, RequestAuthentication, Selector,
    TargetRef,
};

/// A resource that selects workloads.
pub(super) trait Selecting {
    /// Its name, its selector, and what it is attached to.
    fn parts(&self) -> (&Meta, &Selector, &[TargetRef]);
}

impl Selecting for AuthorizationPolicy {
    fn parts(&self) -> (&Meta, &Selector, &[TargetRef]) {
        (&self.meta, &self.selector, &self.target_refs)
    }
}

impl Selecting for RequestAuthentication {
    fn parts(&self) -> (&Meta, &Selector, &[TargetRef]) {
        (&self.meta, &self.selector, &self.target_refs)
    }
}

impl Selecting for RateLimit {
    fn parts(&self) -> (&Meta, &Selector, &[TargetRef]) {
        (&self.meta, &self.selector, &[])
    }
}

/// The resources that touch the workload, in the order they were written. Two of the same name are
/// a mistake.
pub(super) fn select<'r, R: Selecting>(
    compiler: &mut Compiler<'_>,
    resources: &'r [Arc<R>],
) -> Vec<&'r R> {
    let mut names = HashSet::new();
    let mut selected = Vec::new();
    for resource in resources {
        let (meta, ..) = resource.parts();
        if !is_candidate(compiler, meta) {
            continue;
        }
        if !names.insert((&meta.namespace, &meta.name)) {
            refuse_double(compiler, meta);
        }
        if touches(compiler, &**resource) {
            selected.push(&**resource);
        }
    }
    selected
}

/// Whether a resource is in the workload's namespace or in the root namespace.
fn is_candidate(compiler: &Compiler<'_>, meta: &Meta) -> bool {
    meta.namespace == compiler.workload.namespace()
        || meta.namespace == compiler.mesh.root_namespace
}

fn touches<R: Selecting>(compiler: &mut Compiler<'_>, resource: &R) -> bool {
    let (workload, (meta, selector, target_refs)) = (compiler.workload, resource.parts());
    let [first, ..] = target_refs else {
        return has_labels(workload, selector);
    };
    let gateway = workload.labels().get(GATEWAY_LABEL);
    let is_ours = |target: &TargetRef| {
        target.kind == "Gateway"
            && Some(&target.name) == gateway
            && meta.namespace == workload.namespace()
    };
    let ours = target_refs.iter().any(is_ours);
    if !ours {
        let resource = named(meta);
        let message = format!(
            "{resource} is not for this workload: targetRefs attach to gateways; use a selector"
        );
        compiler.note(&first.at, "spec.targetRefs", message);
    }
    ours
}

/// Every listed label, exactly; an empty selector selects all.
pub(super) fn has_labels(workload: &Workload, selector: &Selector) -> bool {
    let labels = workload.labels();
    let mut wanted = selector.match_labels.iter();
    wanted.all(|(key, value)| labels.get(key).is_some_and(|label| *label == **value))
}

/// Records that a resource was already written.
pub(super) fn refuse_double(compiler: &mut Compiler<'_>, meta: &Meta) {
    let resource = named(meta);
    let message = format!("{resource} is defined more than once; remove one or rename it");
    let problem = Problem::new(meta.at.clone(), "metadata.name", message);
    compiler
        .problems
        .push(problem.of_kind(ProblemKind::Duplicate));
}

fn named(meta: &Meta) -> String {
    format!("{} {}/{}", meta.kind, meta.namespace, meta.name)
}

/// Oldest first, then by name; a resource without a creation time counts as old, as in Istio.
pub(super) fn age(meta: &Meta) -> (&str, &str) {
    (meta.created.as_deref().unwrap_or_default(), &meta.name)
}

/// The oldest of the resources that compete for one place; the others are noted. Without creation
/// times none is known to be the oldest.
pub(super) fn oldest<'r, R>(
    compiler: &mut Compiler<'_>,
    mut resources: Vec<&'r R>,
    meta: impl Fn(&R) -> &Meta,
) -> Option<&'r R> {
    resources.sort_by(|a, b| age(meta(a)).cmp(&age(meta(b))));
    let (first, others) = resources.split_first()?;
    let winner = meta(first);
    for other in others {
        let other = meta(other);
        let (loser, older, older_at) = (named(other), named(winner), &winner.at);
        if winner.created.is_none() || other.created.is_none() {
            let message = format!(
                "{loser} and {older} (at {older_at}) cover the same, and without creation \
                 times neither is the older; keep one"
            );
            let problem = Problem::new(other.at.clone(), "metadata.name", message);
            compiler
                .problems
                .push(problem.of_kind(ProblemKind::Ageless));
        } else {
            let message =
                format!("{loser} is ignored: {older} (at {older_at}) covers the same and is older");
            compiler.note(&other.at, "metadata.name", message);
        }
    }
    Some(first)
}

/// Labels a Gateway API gateway's pods.
pub(crate) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
