use std::collections::BTreeSet;

use crate::istio::{JwtRule, MtlsMode};
use crate::policy::{Engine, LegacyAuthentication};

/// What changes and is in no answer: which connections are accepted, which tokens are good, how paths are written.
///
/// Of the ports that either side names, and of `port`; one sentence each. Empty: nothing.
#[must_use]
pub fn beside(old: &Engine, new: &Engine, port: u16) -> Vec<String> {
    let mut said = Vec::new();
    let (before, after) = (old.path_normalization(), new.path_normalization());
    if before != after {
        said.push(format!(
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
            said.push(format!("mutual TLS of port {port}: {before}, now {after}"));
        }
        let (before, after) = (old.authentication(port), new.authentication(port));
        if !same_rules(&before.rules, &after.rules) {
            let (before, after) = (issuers(&before.rules), issuers(&after.rules));
            said.push(format!(
                "RequestAuthentication of port {port} is another: issuers {before}, now {after}"
            ));
        }
        if !same_origins(before.legacy.as_ref(), after.legacy.as_ref()) {
            said.push(format!(
                "the authentication.istio.io Policy of port {port} is another"
            ));
        }
    }
    said
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
fn same_rules(old: &[JwtRule], new: &[JwtRule]) -> bool {
    let bare = |rule: &JwtRule| JwtRule {
        at: crate::istio::Position::default(),
        ..rule.clone()
    };
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| bare(old) == bare(new))
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

fn issuers(rules: &[JwtRule]) -> String {
    let names = rules
        .iter()
        .map(|rule| rule.issuer.as_deref().unwrap_or("any"));
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
