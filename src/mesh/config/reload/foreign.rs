//! Warns about policies that name callers of a trust domain without roots.

use std::collections::BTreeSet;

use crate::istio::{AuthorizationPolicy, MeshConfig, Rule, Text};
use crate::mesh::config::policy_names::applying;
use crate::mesh::config::reading_log::start;
use crate::policy::Program;
use crate::source::Configuration;
use crate::tls::Credentials;

/// Logs which AuthorizationPolicies of ours name callers of a trust domain that is not ours and
/// that no root of ours vouches for. No caller can have such an identity, so an ALLOW rule lets
/// none in, and a DENY rule keeps none out.
pub(in crate::mesh) fn warn_of_foreign(
    program: &Program,
    configuration: &Configuration,
    credentials: &Credentials,
) {
    let mesh = &configuration.mesh_config;
    let applying = applying(program);
    let own = credentials.spiffe_id();
    let bundles = credentials.bundles();
    let roots: BTreeSet<_> = bundles.trust_domains().map(AsRef::as_ref).collect();
    let is_known = |domain: &str| {
        mesh.trust_domain.as_deref() == Some(domain)
            || domain == own.trust_domain().as_str()
            || mesh
                .trust_domain_aliases
                .iter()
                .any(|alias| alias == domain)
            || roots.contains(domain)
    };
    let mut foreign = Vec::new();
    for policy in &configuration.resources.authorization_policies {
        let (namespace, name) = (&policy.meta.namespace, &policy.meta.name);
        if !applying.contains(&*format!("ns[{namespace}]-policy[{name}]")) {
            continue;
        }
        let mut seen = BTreeSet::new();
        let named = named(policy).filter(|(domain, _)| !is_known(domain) && seen.insert(*domain));
        foreign.extend(named.map(|(domain, text)| (policy, domain, text)));
    }
    for (policy, domain, text) in foreign.iter().take(MOST) {
        if *domain == SCHEME {
            tracing::warn!(
                target: "tower_mesh::config",
                at = %text.at(),
                policy = %format_args!("{}/{}", policy.meta.namespace, policy.meta.name),
                action = policy.action.as_str(),
                "a policy writes a principal with spiffe://, and no caller is matched so: leave \
                 out the spiffe://"
            );
            continue;
        }
        tracing::warn!(
            target: "tower_mesh::config",
            at = %text.at(),
            policy = %format_args!("{}/{}", policy.meta.namespace, policy.meta.name),
            action = policy.action.as_str(),
            domain = start(domain),
            ours = %ours(mesh, own.trust_domain().as_str()),
            "a policy names a trust domain that is not ours and that we have no roots of: no \
             caller can be of it"
        );
    }
    if let Some(more) = foreign.len().checked_sub(MOST).filter(|more| *more > 0) {
        tracing::warn!(target: "tower_mesh::config", more, "more policies name such trust domains");
    }
}

/// The trust domains that a policy names in full, without a star, and where it names them.
fn named(policy: &AuthorizationPolicy) -> impl Iterator<Item = (&str, &Text)> {
    let rules = policy.rules.iter();
    let in_from = rules.clone().flat_map(|rule| &rule.from).flat_map(|from| {
        let principals = from.principals.iter().chain(&from.not_principals);
        let domains = from.trust_domains.iter().chain(&from.not_trust_domains);
        let domains = domains.map(|text| (text.as_str(), text));
        principals.filter_map(of_principal).chain(domains)
    });
    let in_when = rules.flat_map(principals_in_when).filter_map(of_principal);
    let all = in_from.chain(in_when);
    all.filter(|(domain, _)| !domain.contains('*'))
}

fn principals_in_when(rule: &Rule) -> impl Iterator<Item = &Text> {
    let conditions = rule.when.iter();
    let conditions = conditions.filter(|condition| condition.key.as_str() == "source.principal");
    conditions.flat_map(|condition| condition.values.iter().chain(&condition.not_values))
}

/// In a policy `cluster.local` means our own trust domain, whatever its name.
fn of_principal(text: &Text) -> Option<(&str, &Text)> {
    let (domain, _) = text.split_once('/')?;
    (domain != "cluster.local").then_some((domain, text))
}

/// Our trust domains: the certificate's, and those of the MeshConfig.
fn ours(mesh: &MeshConfig, certificates: &str) -> String {
    let aliases = mesh.trust_domain_aliases.iter().map(String::as_str);
    let mut ours = vec![certificates];
    for domain in mesh.trust_domain.as_deref().into_iter().chain(aliases) {
        if !ours.contains(&domain) {
            ours.push(domain);
        }
    }
    ours.join(", ")
}

/// The text before the first slash of an id that is written as in a certificate.
const SCHEME: &str = "spiffe:";
/// The most lines that are logged.
const MOST: usize = 20;
