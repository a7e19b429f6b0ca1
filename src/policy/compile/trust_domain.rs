use std::borrow::Cow;

use crate::istio::MeshConfig;

/// The values that a written principal stands for: its trust domain is exchanged for our own and each of its aliases, when it is one of them.
///
/// Istio treats only texts of five parts (`td/ns/N/sa/S`) so, and takes a written `cluster.local` for "our own trust domain, whatever it is
/// called".
pub(super) fn principals<'v>(mesh: &MeshConfig, value: &'v str) -> Vec<Cow<'v, str>> {
    let Some((domain, path)) = value.split_once('/') else {
        return vec![value.into()];
    };
    let five_parts = path.bytes().filter(|byte| *byte == b'/').count() == 3;
    if !five_parts || domain == "*" || !is_ours(mesh, domain) {
        return vec![value.into()];
    }
    let mut values: Vec<Cow<'v, str>> = Vec::new();
    for ours in bundle(mesh) {
        let replaced = if ours == domain || matches_suffix(ours, domain) {
            Cow::Borrowed(value)
        } else {
            Cow::Owned(format!("{ours}/{path}"))
        };
        if !values.contains(&replaced) {
            values.push(replaced);
        }
    }
    values
}

/// The trust domains that a written one stands for: all of ours, when it is one of them.
pub(super) fn trust_domains<'v>(mesh: &'v MeshConfig, value: &'v str) -> Vec<&'v str> {
    if bundle(mesh).any(|ours| ours == value) {
        bundle(mesh).collect()
    } else {
        vec![value]
    }
}

/// Our trust domain, then its aliases.
fn bundle(mesh: &MeshConfig) -> impl Iterator<Item = &str> {
    std::iter::once(mesh.trust_domain.as_str())
        .chain(mesh.trust_domain_aliases.iter().map(String::as_str))
}

fn is_ours(mesh: &MeshConfig, domain: &str) -> bool {
    domain == CLUSTER_LOCAL
        || bundle(mesh).any(|ours| {
            ours == domain
                || ours == "*"
                || matches_prefix(domain, ours)
                || matches_prefix(ours, domain)
                || matches_suffix(domain, ours)
                || matches_suffix(ours, domain)
        })
}

fn matches_prefix(text: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|prefix| text.starts_with(prefix))
}

fn matches_suffix(text: &str, pattern: &str) -> bool {
    pattern
        .strip_prefix('*')
        .is_some_and(|suffix| text.ends_with(suffix))
}

/// In a policy: the local trust domain and its aliases.
const CLUSTER_LOCAL: &str = "cluster.local";
