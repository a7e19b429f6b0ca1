//! One view of permissions and principals, for all code that walks them except `eval` and `envoy`.
//!
//! Both are trees of the same shape and share most of their tests. A walker takes a [`Node`], asks
//! for its [`Shape`], and needs one match where it would need one for each of the two types. `eval`
//! and `envoy` stay apart on purpose: they spell out every variant, as Envoy's protocol does.

use super::tree::{HeaderMatcher, MetadataMatcher, Permission, Policy, Principal};
use crate::matcher::{Cidr, PathTemplate, StringMatcher};

/// A permission or a principal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node<'a> {
    Permission(&'a Permission),
    Principal(&'a Principal),
}

/// The children of a node, or one side of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Nodes<'a> {
    Permissions(&'a [Permission]),
    Principals(&'a [Principal]),
}

/// What a node consists of, one level deep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'a> {
    Any,
    And(Nodes<'a>),
    Or(Nodes<'a>),
    Not(Node<'a>),
    Leaf(Leaf<'a>),
}

/// A test of one fact about a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leaf<'a> {
    DestinationIp(Cidr),
    /// The address of the connection's other end.
    DirectIp(Cidr),
    Header(&'a HeaderMatcher),
    Metadata(&'a MetadataMatcher),
    /// The path without its query.
    Path(&'a StringMatcher),
    /// A name of the peer; without a matcher, any TLS connection.
    Peer(Option<&'a StringMatcher>),
    /// `start <= port < end`.
    Ports {
        start: u32,
        end: u32,
    },
    /// The address after `x-forwarded-for` or the PROXY protocol.
    RemoteIp(Cidr),
    ServerName(&'a StringMatcher),
    Template(&'a PathTemplate),
}

impl Policy {
    /// The permissions, then the principals: a request must match one node of each.
    pub(crate) fn sides(&self) -> [Nodes<'_>; 2] {
        [
            Nodes::Permissions(&self.permissions),
            Nodes::Principals(&self.principals),
        ]
    }
}

impl<'a> Nodes<'a> {
    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Node<'a>> + Clone {
        let (permissions, principals): (&[_], &[_]) = match self {
            Self::Permissions(list) => (list, &[]),
            Self::Principals(list) => (&[], list),
        };
        let permissions = permissions.iter().map(Node::Permission);
        permissions.chain(principals.iter().map(Node::Principal))
    }
}

impl<'a> Node<'a> {
    pub(crate) fn shape(self) -> Shape<'a> {
        match self {
            Self::Permission(permission) => permission_shape(permission),
            Self::Principal(principal) => principal_shape(principal),
        }
    }

    pub(crate) fn is_any(self) -> bool {
        matches!(self.shape(), Shape::Any)
    }

    /// Calls `visit` with every test in the tree, from left to right.
    #[cfg(any(feature = "diff", feature = "vet"))]
    pub(crate) fn each_leaf(self, visit: &mut dyn FnMut(Leaf<'a>)) {
        match self.shape() {
            Shape::Any => {}
            Shape::And(nodes) | Shape::Or(nodes) => {
                nodes.iter().for_each(|node| node.each_leaf(visit));
            }
            Shape::Not(inner) => inner.each_leaf(visit),
            Shape::Leaf(leaf) => visit(leaf),
        }
    }
}

/// The port of a range that holds no other.
pub(crate) fn only_port(start: u32, end: u32) -> Option<u16> {
    let port = u16::try_from(start).ok()?;
    (end.checked_sub(1) == Some(start)).then_some(port)
}

fn permission_shape(permission: &Permission) -> Shape<'_> {
    Shape::Leaf(match permission {
        Permission::Any => return Shape::Any,
        Permission::And(all) => return Shape::And(Nodes::Permissions(all)),
        Permission::Or(any) => return Shape::Or(Nodes::Permissions(any)),
        Permission::Not(inner) => return Shape::Not(Node::Permission(inner)),
        Permission::Header(matcher) => Leaf::Header(matcher),
        Permission::UrlPath(matcher) => Leaf::Path(matcher),
        Permission::UriTemplate(template) => Leaf::Template(template),
        Permission::DestinationIp(range) => Leaf::DestinationIp(*range),
        Permission::DestinationPort(port) => Leaf::Ports {
            start: u32::from(*port),
            end: u32::from(*port) + 1,
        },
        Permission::DestinationPortRange { start, end } => Leaf::Ports {
            start: *start,
            end: *end,
        },
        Permission::RequestedServerName(matcher) => Leaf::ServerName(matcher),
        Permission::Metadata(matcher) => Leaf::Metadata(matcher),
    })
}

fn principal_shape(principal: &Principal) -> Shape<'_> {
    Shape::Leaf(match principal {
        Principal::Any => return Shape::Any,
        Principal::And(all) => return Shape::And(Nodes::Principals(all)),
        Principal::Or(any) => return Shape::Or(Nodes::Principals(any)),
        Principal::Not(inner) => return Shape::Not(Node::Principal(inner)),
        Principal::Authenticated(matcher) => Leaf::Peer(matcher.as_ref()),
        Principal::DirectRemoteIp(range) | Principal::SourceIp(range) => Leaf::DirectIp(*range),
        Principal::RemoteIp(range) => Leaf::RemoteIp(*range),
        Principal::Header(matcher) => Leaf::Header(matcher),
        Principal::UrlPath(matcher) => Leaf::Path(matcher),
        Principal::Metadata(matcher) => Leaf::Metadata(matcher),
    })
}
