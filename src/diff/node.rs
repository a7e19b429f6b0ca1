//! Permissions and principals as one kind of tree.

use super::fact::Dimension;
use crate::matcher::{Cidr, PathTemplate, StringMatcher};
use crate::policy::ir::{HeaderMatcher, MetadataMatcher, Permission, Policy, Principal};
use crate::policy::{Attributes, eval};

/// A permission or a principal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Permission(&'a Permission),
    Principal(&'a Principal),
}

/// How a node is put together.
pub(super) enum Shape<'a> {
    Any,
    All(Vec<Node<'a>>),
    One(Vec<Node<'a>>),
    Not(Node<'a>),
    Leaf(Leaf<'a>),
}

/// A test of one thing.
#[derive(Clone, Copy)]
pub(super) enum Leaf<'a> {
    DestinationIp(&'a Cidr),
    Header(&'a HeaderMatcher),
    Metadata(&'a MetadataMatcher),
    Path(&'a StringMatcher),
    Peer(Option<&'a StringMatcher>),
    /// The first and the last port.
    Ports(u16, u16),
    RemoteIp(&'a Cidr),
    ServerName(&'a StringMatcher),
    SourceIp(&'a Cidr),
    Template(&'a PathTemplate),
}

impl<'a> Node<'a> {
    pub(super) fn holds(self, request: &dyn Attributes) -> bool {
        match self {
            Self::Permission(permission) => eval::permission_matches(permission, request),
            Self::Principal(principal) => eval::principal_matches(principal, request),
        }
    }

    pub(super) fn shape(self) -> Shape<'a> {
        match self {
            Self::Permission(permission) => of_permission(permission),
            Self::Principal(principal) => of_principal(principal),
        }
    }
}

fn of_permission(permission: &Permission) -> Shape<'_> {
    Shape::Leaf(match permission {
        Permission::Any => return Shape::Any,
        Permission::And(list) => return Shape::All(list.iter().map(Node::Permission).collect()),
        Permission::Or(list) => return Shape::One(list.iter().map(Node::Permission).collect()),
        Permission::Not(inner) => return Shape::Not(Node::Permission(inner)),
        Permission::Header(matcher) => Leaf::Header(matcher),
        Permission::UrlPath(matcher) => Leaf::Path(matcher),
        Permission::UriTemplate(template) => Leaf::Template(template),
        Permission::DestinationIp(range) => Leaf::DestinationIp(range),
        Permission::DestinationPort(port) => Leaf::Ports(*port, *port),
        Permission::DestinationPortRange { start, end } => {
            let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
            Leaf::Ports(port(*start), port(end.saturating_sub(1)))
        }
        Permission::RequestedServerName(matcher) => Leaf::ServerName(matcher),
        Permission::Metadata(matcher) => Leaf::Metadata(matcher),
    })
}

fn of_principal(principal: &Principal) -> Shape<'_> {
    Shape::Leaf(match principal {
        Principal::Any => return Shape::Any,
        Principal::And(list) => return Shape::All(list.iter().map(Node::Principal).collect()),
        Principal::Or(list) => return Shape::One(list.iter().map(Node::Principal).collect()),
        Principal::Not(inner) => return Shape::Not(Node::Principal(inner)),
        Principal::Authenticated(matcher) => Leaf::Peer(matcher.as_ref()),
        Principal::DirectRemoteIp(range) | Principal::SourceIp(range) => Leaf::SourceIp(range),
        Principal::RemoteIp(range) => Leaf::RemoteIp(range),
        Principal::Header(matcher) => Leaf::Header(matcher),
        Principal::UrlPath(matcher) => Leaf::Path(matcher),
        Principal::Metadata(matcher) => Leaf::Metadata(matcher),
    })
}

/// Every test inside a rule.
pub(super) fn leaves(policy: &Policy) -> Vec<Leaf<'_>> {
    let permissions = policy.permissions.iter().map(Node::Permission);
    let principals = policy.principals.iter().map(Node::Principal);
    let mut left: Vec<Node<'_>> = permissions.chain(principals).collect();
    left.reverse();
    let mut leaves = Vec::new();
    while let Some(node) = left.pop() {
        match node.shape() {
            Shape::Any => {}
            Shape::All(nodes) | Shape::One(nodes) => left.extend(nodes.into_iter().rev()),
            Shape::Not(inner) => left.push(inner),
            Shape::Leaf(leaf) => leaves.push(leaf),
        }
    }
    leaves
}

impl Leaf<'_> {
    /// What a request must say otherwise to change the answer.
    pub(super) fn dimensions(self) -> Vec<Dimension> {
        vec![match self {
            Self::DestinationIp(_) => Dimension::DestinationIp,
            Self::Path(_) | Self::Template(_) => Dimension::Target,
            Self::Peer(_) => Dimension::Peer,
            Self::Ports(..) => Dimension::Port,
            Self::RemoteIp(_) => Dimension::RemoteIp,
            Self::ServerName(_) => Dimension::ServerName,
            Self::SourceIp(_) => Dimension::SourceIp,
            Self::Header(matcher) => match matcher.name.as_str() {
                ":method" => Dimension::Method,
                ":path" => Dimension::Target,
                ":authority" | "host" => Dimension::Authority,
                name => Dimension::Header(name.to_owned()),
            },
            Self::Metadata(matcher) => return of_metadata(matcher),
        }]
    }
}

fn of_metadata(matcher: &MetadataMatcher) -> Vec<Dimension> {
    let path: Vec<&str> = matcher.path.iter().map(String::as_str).collect();
    let claim = |path: &[&str]| Dimension::Claim(path.iter().map(|&key| key.to_owned()).collect());
    match (matcher.filter.as_str(), path.as_slice()) {
        ("envoy.filters.http.jwt_authn", ["payload", path @ ..]) => {
            vec![claim(path), Dimension::Token]
        }
        ("istio_authn", ["request.auth.principal"]) => {
            vec![claim(&["iss"]), claim(&["sub"]), Dimension::Token]
        }
        ("istio_authn", ["request.auth.audiences"]) => vec![claim(&["aud"]), Dimension::Token],
        ("istio_authn", ["request.auth.presenter"]) => vec![claim(&["azp"]), Dimension::Token],
        ("istio_authn", ["request.auth.claims", name]) => vec![claim(&[name]), Dimension::Token],
        _ => Vec::new(),
    }
}
