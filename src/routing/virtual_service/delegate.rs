//! VirtualServices whose routes delegate to others.

use std::collections::HashMap;

use super::conflict::conflicts;
use super::resolved::Resolved;
use crate::istio::Text;
use crate::istio::traffic::{Delegate, HttpMatch, HttpRoute, NamedMatch};

/// The VirtualServices with hosts, with the routes of delegates, which have none, in place of the
/// routes that name them.
///
/// A route whose delegate does not exist, or is not exported to the route's namespace, is dropped.
pub(in crate::routing) fn merge_delegates(all: Vec<Resolved>) -> Vec<Resolved> {
    let (delegates, mut roots): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| it.hosts.is_empty());
    let delegates: HashMap<(&str, &str), &Resolved> = delegates
        .iter()
        .map(|it| ((it.namespace.as_str(), it.name.as_str()), it))
        .collect();
    for root in &mut roots {
        let mut http = Vec::with_capacity(root.http.len());
        for route in std::mem::take(&mut root.http) {
            let Some(Delegate {
                name, namespace, ..
            }) = &route.delegate
            else {
                http.push(route);
                continue;
            };
            let namespace = namespace.as_deref().unwrap_or(&root.namespace);
            let Some(delegate) = delegates.get(&(namespace, name.as_str())) else {
                continue;
            };
            if delegate.reach(&root.namespace).is_some() {
                let merged = delegate.http.iter();
                http.extend(merged.filter_map(|of_delegate| merge(&route, of_delegate)));
            }
        }
        root.http = http;
    }
    roots
}

/// Whether a delegate's route counts under the root's route that names it: each of its matches holds
/// together with one of the root's, by Istio's table of conflicts. Otherwise the whole of it is
/// dropped.
#[must_use]
pub fn delegate_agrees(root: &HttpRoute, delegate: &HttpRoute) -> bool {
    merge_matches(&root.matches, &delegate.matches).is_some()
}

/// A delegate's route under its root: `None` where one of its matches holds with none of the
/// root's. Blocks are the delegate's if it has them, else the root's, always whole.
fn merge(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let mut merged = delegate.clone();
    merged.matches = merge_matches(&root.matches, &delegate.matches)?;
    merged.name = joined(&root.name, &delegate.name);
    macro_rules! inherit {
        ($($field:ident),+) => {
            $(if merged.$field.is_none() {
                merged.$field.clone_from(&root.$field);
            })+
        };
    }
    inherit!(rewrite, direct_response, timeout, retries, fault);
    inherit!(mirror_percentage, cors_policy, headers);
    if merged.mirrors.is_empty() {
        merged.mirrors.clone_from(&root.mirrors);
    }
    // A share that stands alone is of the other side's mirror.
    let (of_root, of_delegate) = (root.mirror_percentage, delegate.mirror_percentage);
    for mirror in &mut merged.mirrors {
        match delegate.mirrors.is_empty() {
            true => mirror.percentage = of_delegate.or(mirror.percentage),
            false => mirror.percentage = mirror.percentage.or(of_root),
        }
    }
    Some(merged)
}

fn merge_matches(root: &[HttpMatch], delegate: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut merged = Vec::new();
    for of_delegate in delegate {
        let before = merged.len();
        let fitting = root.iter().filter(|it| !conflicts(it, of_delegate));
        merged.extend(fitting.map(|of_root| merge_match(of_root, of_delegate)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatch, delegate: &HttpMatch) -> HttpMatch {
    let mut merged = delegate.clone();
    merged.name = joined(&root.name, &delegate.name);
    macro_rules! inherit {
        ($($field:ident),+) => {
            $(if merged.$field.is_none() {
                merged.$field.clone_from(&root.$field);
            })+
        };
    }
    inherit!(
        uri,
        scheme,
        method,
        authority,
        port,
        source_namespace,
        stat_prefix
    );
    unite(&mut merged.headers, &root.headers);
    unite(&mut merged.without_headers, &root.without_headers);
    unite(&mut merged.query_params, &root.query_params);
    for (key, value) in &root.source_labels {
        let of_delegate = merged.source_labels.entry(key.clone());
        of_delegate.or_insert_with(|| value.clone());
    }
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&root.gateways);
    }
    merged
}

/// Adds what the root tests and the delegate does not.
fn unite(delegate: &mut Vec<NamedMatch>, root: &[NamedMatch]) {
    for of_root in root {
        if !delegate.iter().any(|it| it.name == of_root.name) {
            delegate.push(of_root.clone());
        }
    }
}

/// `ROOT-DELEGATE`, or the one that is there.
fn joined(root: &Option<Text>, delegate: &Option<Text>) -> Option<Text> {
    match (root, delegate) {
        (Some(root), Some(delegate)) => {
            let name = format!("{}-{}", root.as_str(), delegate.as_str());
            Some(Text::new(name, delegate.at().clone()))
        }
        (one, None) => one.clone(),
        (None, other) => other.clone(),
    }
}
