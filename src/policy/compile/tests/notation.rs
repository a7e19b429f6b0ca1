//! The IR in one line, for expectations: `and[or[header{:method} exact GET]]`.

use crate::matcher::{StringMatcher, StringPattern};
use crate::policy::ir::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, Rbac, ValueMatcher,
};

/// One line a policy: `name: permissions => principals`.
pub(super) fn rbac(rbac: &Rbac) -> Vec<String> {
    rbac.policies
        .iter()
        .map(|(id, rule)| format!("{id}: {}", policy(rule)))
        .collect()
}

pub(super) fn policy(policy: &Policy) -> String {
    format!(
        "{} => {}",
        list(&policy.permissions, permission),
        list(&policy.principals, principal)
    )
}

fn list<T>(nodes: &[T], print: impl Fn(&T) -> String) -> String {
    nodes.iter().map(print).collect::<Vec<_>>().join(", ")
}

pub(super) fn permission(node: &Permission) -> String {
    match node {
        Permission::Any => "any".to_owned(),
        Permission::And(nodes) => format!("and[{}]", list(nodes, permission)),
        Permission::Or(nodes) => format!("or[{}]", list(nodes, permission)),
        Permission::Not(node) => format!("not({})", permission(node)),
        Permission::Header(matcher) => header(matcher),
        Permission::UrlPath(matcher) => format!("path {}", string(matcher)),
        Permission::UriTemplate(template) => format!("template {}", template.as_str()),
        Permission::DestinationIp(cidr) => format!("destination_ip {cidr}"),
        Permission::DestinationPort(port) => format!("port {port}"),
        Permission::DestinationPortRange { start, end } => format!("ports {start}..{end}"),
        Permission::RequestedServerName(matcher) => format!("sni {}", string(matcher)),
        Permission::Metadata(matcher) => metadata(matcher),
    }
}

pub(super) fn principal(node: &Principal) -> String {
    match node {
        Principal::Any => "any".to_owned(),
        Principal::And(nodes) => format!("and[{}]", list(nodes, principal)),
        Principal::Or(nodes) => format!("or[{}]", list(nodes, principal)),
        Principal::Not(node) => format!("not({})", principal(node)),
        Principal::Authenticated(None) => "authenticated".to_owned(),
        Principal::Authenticated(Some(matcher)) => format!("authenticated {}", string(matcher)),
        Principal::DirectRemoteIp(cidr) => format!("direct_remote_ip {cidr}"),
        Principal::RemoteIp(cidr) => format!("remote_ip {cidr}"),
        Principal::SourceIp(cidr) => format!("source_ip {cidr}"),
        Principal::Header(matcher) => header(matcher),
        Principal::UrlPath(matcher) => format!("path {}", string(matcher)),
        Principal::Metadata(matcher) => metadata(matcher),
    }
}

fn header(matcher: &HeaderMatcher) -> String {
    assert!(!matcher.invert && !matcher.treat_missing_as_empty);
    let test = match &matcher.test {
        HeaderTest::String(matcher) => string(matcher),
        HeaderTest::Present(true) => "present".to_owned(),
        other => panic!("never compiled: {other:?}"),
    };
    format!("header{{{}}} {test}", matcher.name)
}

fn metadata(matcher: &MetadataMatcher) -> String {
    assert!(!matcher.invert);
    let filter = match matcher.filter.as_str() {
        "envoy.filters.http.jwt_authn" => "jwt",
        other => other,
    };
    format!(
        "{filter}{{{}}} {}",
        matcher.path.join("|"),
        value(&matcher.value)
    )
}

fn value(matcher: &ValueMatcher) -> String {
    match matcher {
        ValueMatcher::String(matcher) => string(matcher),
        ValueMatcher::ListOneOf(element) => format!("list({})", value(element)),
        ValueMatcher::Or(alternatives) => format!("or[{}]", list(alternatives, value)),
        other => panic!("never compiled: {other:?}"),
    }
}

fn string(matcher: &StringMatcher) -> String {
    let (kind, text) = match &matcher.pattern {
        StringPattern::Exact(text) => ("exact", text.as_str()),
        StringPattern::Prefix(text) => ("prefix", text.as_str()),
        StringPattern::Suffix(text) => ("suffix", text.as_str()),
        StringPattern::Contains(text) => ("contains", text.as_str()),
        StringPattern::Regex(regex) => ("regex", regex.as_str()),
    };
    let case = if matcher.ignore_case { "i" } else { "" };
    format!("{kind}{case} {text}")
}
