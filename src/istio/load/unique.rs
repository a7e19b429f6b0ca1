//! Checks that need all resources at once: duplicates, and pairs without an age.

use std::collections::HashMap;

use crate::istio::{Meta, Problem, ProblemKind, Resources};

/// Resources that contradict each other: it is unclear which one counts.
pub(crate) fn contradictions(resources: &Resources) -> Vec<Problem> {
    let mut problems = duplicates(resources);
    problems.extend(ageless_peers(resources));
    problems
}

/// Two resources of one kind, namespace and name: only one of them could be meant.
fn duplicates(resources: &Resources) -> Vec<Problem> {
    let mut seen: HashMap<(&str, &str, &str), &Meta> = HashMap::new();
    let mut problems = Vec::new();
    for meta in resources.metas() {
        let key = (&*meta.kind, &*meta.namespace, &*meta.name);
        let Some(first) = seen.get(&key) else {
            seen.insert(key, meta);
            continue;
        };
        let message = format!(
            "{} `{}` of namespace `{}` was already written at {}; keep one",
            meta.kind, meta.name, meta.namespace, first.at
        );
        let problem = Problem::new(meta.at.clone(), "metadata.name", message);
        problems.push(problem.of_kind(ProblemKind::Duplicate));
    }
    problems
}

/// Two PeerAuthentications for the whole of one namespace, one without a known age. The older one
/// would count.
///
/// Two that overlap on some workload through their selectors are found where workloads are known,
/// when policies are compiled.
fn ageless_peers(resources: &Resources) -> Vec<Problem> {
    let mut seen: HashMap<&str, &Meta> = HashMap::new();
    let mut problems = Vec::new();
    let wide = resources
        .peer_authentications
        .iter()
        .filter(|peer| peer.selector.match_labels.is_empty());
    for peer in wide {
        let meta = &peer.meta;
        let Some(first) = seen.get(&*meta.namespace) else {
            seen.insert(&meta.namespace, meta);
            continue;
        };
        if meta.created.is_none() || first.created.is_none() {
            let message = format!(
                "PeerAuthentication `{}` at {} holds for all of namespace `{}`, too, and only the older counts; keep one",
                first.name, first.at, meta.namespace
            );
            let problem = Problem::new(meta.at.clone(), "spec.selector", message);
            problems.push(problem.of_kind(ProblemKind::Ageless));
        }
    }
    problems
}
