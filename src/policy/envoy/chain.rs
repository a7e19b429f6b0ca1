use serde_json::{Value, json};

use super::external;
use super::protocol::Protocol;
use super::rules::{rbac, set};
use crate::policy::ir::Rbac;
use crate::policy::{Chain, RuleSets};

/// The HTTP filters of a chain in the order they run: CUSTOM, the JWT filter that
/// [`jwt_authn`](super::jwt_authn) made, AUDIT, DENY, ALLOW.
///
/// Each is `{"name", "typed_config": {"@type", ..}}`. No router: the caller ends the chain.
#[must_use]
pub fn http_filters(chain: &Chain, jwt: Option<Value>) -> Vec<Value> {
    filters(Protocol::Http, chain, jwt)
}

/// The network filters of a chain for raw TCP, in the order they run. No `tcp_proxy`: the caller
/// ends the chain.
#[must_use]
pub fn network_filters(chain: &Chain) -> Vec<Value> {
    filters(Protocol::Tcp, chain, None)
}

fn filters(protocol: Protocol, chain: &Chain, jwt: Option<Value>) -> Vec<Value> {
    let mut filters = Vec::new();
    for custom in &chain.custom {
        let Some(provider) = &custom.usable else {
            filters.push(filter(protocol, Some(&custom.rules), None));
            continue;
        };
        // Envoy cannot ask a provider of this process: it must refuse.
        let Some(asking) = external::filter(protocol, &custom.provider, provider) else {
            filters.push(filter(protocol, Some(&custom.rules), None));
            continue;
        };
        let marking = Some((&custom.rules, "istio_ext_authz_"));
        filters.push(filter(protocol, None, marking));
        filters.push(asking);
    }
    filters.extend(jwt);
    let audit = chain.audit.iter();
    filters.extend(audit.map(|rules| filter(protocol, Some(rules), None)));
    filters.extend(stage(protocol, &chain.deny, "istio_dry_run_deny_"));
    filters.extend(stage(protocol, &chain.allow, "istio_dry_run_allow_"));
    filters
}

fn stage(protocol: Protocol, sets: &RuleSets, prefix: &'static str) -> Option<Value> {
    let shadow = sets.shadow.as_ref().map(|rules| (rules, prefix));
    let is_there = sets.enforced.is_some() || shadow.is_some();
    is_there.then(|| filter(protocol, sets.enforced.as_ref(), shadow))
}

/// One RBAC filter; shadow rules come with the prefix of what they report.
fn filter(protocol: Protocol, rules: Option<&Rbac>, shadow: Option<(&Rbac, &str)>) -> Value {
    let mut config = json!({});
    if let Some(rules) = rules {
        set(&mut config, "rules", rbac(rules));
    }
    if let Some((rules, prefix)) = shadow {
        set(&mut config, "shadow_rules", rbac(rules));
        set(&mut config, "shadow_rules_stat_prefix", prefix.into());
    }
    protocol.filter("rbac", "RBAC", config)
}
