//! Lists the changes that no answer to a request shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::providers::provider_changes;
use super::tokens::Tokens;
use crate::istio::MtlsMode;
use crate::policy::limit::{Limit, Spec};
use crate::policy::{Engine, LegacyAuthentication};

/// The changes that no answer shows: which connections are accepted, which tokens are good, how
/// paths are normalized, how external providers are asked and what happens when they fail, and which
/// rate limits there are.
///
/// One sentence for each change, for the ports that either side names and for `port`.
#[must_use]
pub fn unanswerable_changes(old: &Engine, new: &Engine, port: u16) -> Vec<String> {
    let mut changes = Vec::new();
    let (before, after) = (old.path_normalization(), new.path_normalization());
    if before != after {
        changes.push(format!(
            "paths are normalized otherwise: {before:?}, now {after:?}"
        ));
    }
    let mut ports = BTreeSet::from([port]);
    for engine in [old, new] {
        let program = engine.program();
        ports.extend(program.mtls.by_port.keys());
        ports.extend(program.authentication.by_port.keys());
    }
    for port in ports {
        let (before, after) = (old.mtls(port), new.mtls(port));
        if mode(before) != mode(after) {
            let (before, after) = (mode(before), mode(after));
            changes.push(format!("mutual TLS of port {port}: {before}, now {after}"));
        }
        let (before, after) = (old.authentication(port), new.authentication(port));
        let (before, after) = (Tokens::new(before), Tokens::new(after));
        if let Some(change) = before.change(&after) {
            changes.push(format!("end-user tokens on port {port}: {change}"));
        }
    }
    changes.extend(provider_changes(old, new));
    changes.extend(limit_changes(old, new));
    changes
}

/// The rate limits that are gone, new, or count otherwise.
fn limit_changes(old: &Engine, new: &Engine) -> Vec<String> {
    let by_name = |engine: &'_ Engine| -> BTreeMap<String, Arc<Limit>> {
        let limits = engine.program().limits.iter();
        let named = limits.map(|limit| {
            let name = format!("{}/{}", limit.namespace, limit.name);
            (name, Arc::clone(limit))
        });
        named.collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let said = names.into_iter().filter_map(|name| {
        let what = match (old.get(name), new.get(name)) {
            (Some(_), None) => "is gone: looser".to_owned(),
            (None, Some(_)) => "is new: stricter".to_owned(),
            (Some(before), Some(after)) => limit_change(&before.spec, &after.spec)?,
            (None, None) => return None,
        };
        Some(format!("rate limit `{name}` {what}"))
    });
    said.collect()
}

fn limit_change(old: &Spec, new: &Spec) -> Option<String> {
    if old == new {
        return None;
    }
    let denies = |spec: &Spec| spec.service.as_ref().map(|one| one.failure_mode_deny);
    let mut parts = Vec::new();
    match (old.report_only, new.report_only) {
        (false, true) => parts.push("refuses nothing any more (reportOnly): looser"),
        (true, false) => parts.push("refuses, no longer only reports: stricter"),
        _ => {}
    }
    match (denies(old), denies(new)) {
        (Some(true), Some(false)) => {
            parts.push("lets requests pass while its service cannot be asked: looser");
        }
        (Some(false), Some(true)) => {
            parts.push("refuses requests while its service cannot be asked: stricter");
        }
        (Some(_), None) => parts.push("is not counted by a service any more"),
        (None, Some(_)) => parts.push("is counted by a service"),
        _ => {}
    }
    match (&old.local, &new.local) {
        (Some(_), None) => parts.push("is not counted in the process any more"),
        (None, Some(_)) => parts.push("is counted in the process"),
        (before, after) if before != after => parts.push("has other buckets"),
        _ => {}
    }
    if old.descriptors != new.descriptors {
        parts.push("counts by other descriptors");
    }
    if parts.is_empty() {
        parts.push("counts or answers otherwise");
    }
    Some(parts.join("; "))
}

/// A port that nothing speaks of takes both (Istio's default).
fn mode(mode: Option<MtlsMode>) -> &'static str {
    match mode {
        Some(MtlsMode::Disable) => "DISABLE",
        Some(MtlsMode::Strict) => "STRICT",
        Some(MtlsMode::Permissive | MtlsMode::Unset) | None => "PERMISSIVE",
    }
}

/// Where they were written does not count.
pub(super) fn same_origins(
    old: Option<&LegacyAuthentication>,
    new: Option<&LegacyAuthentication>,
) -> bool {
    let bare = |policy: &LegacyAuthentication| {
        let mut policy = policy.clone();
        for origin in &mut policy.origins {
            origin.rule.at = crate::istio::Position::default();
        }
        policy
    };
    old.map(bare) == new.map(bare)
}
