//! Lists the changes that no answer to a request shows.

use std::collections::BTreeSet;

use super::providers::provider_changes;
use super::tokens::Tokens;
use crate::istio::MtlsMode;
use crate::policy::{Engine, LegacyAuthentication};

/// The changes that no answer shows: which connections are accepted, which tokens are good, how
/// paths are normalized, how external providers are asked and what happens when they fail.
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
    changes
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
