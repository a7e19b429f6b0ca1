//! The reference implementation: walks the rules one by one, exactly as Envoy describes them.
//!
//! It is plain and slow on purpose. [`Engine`](crate::policy::Engine) runs an index instead; a
//! property test checks that both give the same answers.

use super::attributes::Attributes;
use super::decision::PolicyId;
use super::ir::view::Node;
use super::ir::{HeaderMatcher, HeaderTest, Permission, Policy, Principal, Rbac};
use super::metadata;
use crate::matcher::StringMatcher;

/// The first policy that matches, in byte order of the names: the effective one.
pub fn first_match<'a>(rbac: &'a Rbac, request: &dyn Attributes) -> Option<&'a PolicyId> {
    all_matches(rbac, request).next()
}

/// Every policy that matches, in byte order of the names.
pub fn all_matches<'a>(
    rbac: &'a Rbac,
    request: &dyn Attributes,
) -> impl Iterator<Item = &'a PolicyId> {
    rbac.policies
        .iter()
        .filter(move |(_, policy)| policy_matches(policy, request))
        .map(|(name, _)| name)
}

/// Whether one of the permissions and one of the principals match.
#[must_use]
pub fn policy_matches(policy: &Policy, request: &dyn Attributes) -> bool {
    let mut sides = policy.sides().into_iter();
    sides.all(|side| side.iter().any(|node| node_matches(node, request)))
}

/// Whether this is what the request wants to do.
#[must_use]
pub fn permission_matches(permission: &Permission, request: &dyn Attributes) -> bool {
    match permission {
        Permission::Any => true,
        Permission::And(all) => all.iter().all(|each| permission_matches(each, request)),
        Permission::Or(any) => any.iter().any(|each| permission_matches(each, request)),
        Permission::Not(inner) => !permission_matches(inner, request),
        Permission::Header(matcher) => header_matches(matcher, request),
        Permission::UrlPath(matcher) => url_path_matches(matcher, request),
        Permission::UriTemplate(template) => {
            url_path(request).is_some_and(|path| template.matches(path.as_bytes()))
        }
        Permission::DestinationIp(range) => request
            .destination_ip()
            .is_some_and(|ip| range.contains(ip)),
        Permission::DestinationPort(port) => request.destination_port() == Some(*port),
        Permission::DestinationPortRange { start, end } => request
            .destination_port()
            .is_some_and(|port| (*start..*end).contains(&u32::from(port))),
        Permission::RequestedServerName(matcher) => matcher.matches(request.sni().as_bytes()),
        Permission::Metadata(matcher) => metadata::matches(matcher, request),
    }
}

/// Whether this is who sends the request.
#[must_use]
pub fn principal_matches(principal: &Principal, request: &dyn Attributes) -> bool {
    match principal {
        Principal::Any => true,
        Principal::And(all) => all.iter().all(|each| principal_matches(each, request)),
        Principal::Or(any) => any.iter().any(|each| principal_matches(each, request)),
        Principal::Not(inner) => !principal_matches(inner, request),
        Principal::Authenticated(None) => request.is_tls(),
        Principal::Authenticated(Some(matcher)) => {
            any_peer_name(request, &mut |name| matcher.matches(name.as_bytes()))
        }
        Principal::DirectRemoteIp(range) | Principal::SourceIp(range) => request
            .direct_remote_ip()
            .is_some_and(|ip| range.contains(ip)),
        Principal::RemoteIp(range) => request.remote_ip().is_some_and(|ip| range.contains(ip)),
        Principal::Header(matcher) => header_matches(matcher, request),
        Principal::UrlPath(matcher) => url_path_matches(matcher, request),
        Principal::Metadata(matcher) => metadata::matches(matcher, request),
    }
}

/// Whether this permission or principal matches.
pub(crate) fn node_matches(node: Node<'_>, request: &dyn Attributes) -> bool {
    match node {
        Node::Permission(permission) => permission_matches(permission, request),
        Node::Principal(principal) => principal_matches(principal, request),
    }
}

/// Calls `visit` with each name of the peer until it returns `true`: URI SANs, DNS SANs, and the
/// subject, which is empty on a TLS connection without a certificate. A plaintext peer has no name.
pub(in crate::policy) fn any_peer_name(
    request: &dyn Attributes,
    visit: &mut dyn FnMut(&str) -> bool,
) -> bool {
    if !request.is_tls() {
        return false;
    }
    let Some(certificate) = request.certificate() else {
        return visit("");
    };
    certificate
        .uri_sans
        .iter()
        .chain(&certificate.dns_sans)
        .any(|name| visit(name))
        || visit(&certificate.subject)
}

/// The path without its query.
pub(crate) fn url_path(request: &dyn Attributes) -> Option<&str> {
    before_query(request.path()?)
}

/// The part of a path and query before its query.
pub(in crate::policy) fn before_query(path: &str) -> Option<&str> {
    let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    end.map_or(Some(path), |end| path.get(..end))
}

fn url_path_matches(matcher: &StringMatcher, request: &dyn Attributes) -> bool {
    url_path(request).is_some_and(|path| matcher.matches(path.as_bytes()))
}

/// Whether a test of one header passes.
pub(crate) fn header_matches(matcher: &HeaderMatcher, request: &dyn Attributes) -> bool {
    let mut present = false;
    let mut matched = any_value(request, &matcher.name, &mut |value| {
        present = true;
        test_matches(&matcher.test, value)
    });
    if !present && matcher.treat_missing_as_empty {
        present = true;
        matched = test_matches(&matcher.test, b"");
    }
    match matcher.test {
        HeaderTest::Present(expected) => (present == expected) != matcher.invert,
        HeaderTest::String(_) | HeaderTest::Range { .. } => present && matched != matcher.invert,
    }
}

fn test_matches(test: &HeaderTest, value: &[u8]) -> bool {
    match test {
        HeaderTest::String(matcher) => matcher.matches(value),
        HeaderTest::Range { start, end } => std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .is_some_and(|number| (*start..*end).contains(&number)),
        HeaderTest::Present(_) => false,
    }
}

/// Calls `visit` with each value of a header or pseudo-header until it returns `true`. Envoy knows
/// `host` as `:authority`.
pub(crate) fn any_value(
    request: &dyn Attributes,
    name: &str,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    let pseudo = match name {
        ":method" => request.method(),
        ":path" => request.path(),
        ":authority" | "host" => request.authority(),
        ":scheme" => request.scheme(),
        _ if name.starts_with(':') => None,
        _ => return request.any_header(name, visit),
    };
    pseudo.is_some_and(|value| visit(value.as_bytes()))
}
