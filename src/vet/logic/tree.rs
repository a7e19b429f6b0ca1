use std::fmt;

use crate::istio::PathNormalization;
use crate::matcher::{StringMatcher, StringPattern};
use crate::policy::ir::view::{Leaf, Node, Nodes, Shape};
use crate::policy::ir::{HeaderTest, Policy, ValueMatcher};

/// Reasons over the rules of a mesh.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) struct Logic {
    pub(in crate::vet) paths: PathNormalization,
}

impl Logic {
    /// Whether whatever matches `narrow` matches `wide`, too.
    pub(in crate::vet) fn rule_implies(self, narrow: &Policy, wide: &Policy) -> bool {
        let mut sides = narrow.sides().into_iter().zip(wide.sides());
        sides.all(|(narrow, wide)| {
            let mut narrow = narrow.iter();
            narrow.all(|narrow| wide.iter().any(|wide| self.implies(narrow, wide)))
        })
    }

    /// Whether nothing matches both.
    pub(in crate::vet) fn rules_exclude(self, a: &Policy, b: &Policy) -> bool {
        let mut sides = a.sides().into_iter().zip(b.sides());
        sides.any(|(a, b)| {
            let mut a = a.iter();
            a.all(|a| b.iter().all(|b| self.clash(a, b).is_some()))
        })
    }

    /// Whether every HTTP request matches.
    pub(in crate::vet) fn rule_always(self, rule: &Policy) -> bool {
        let mut sides = rule.sides().into_iter();
        sides.all(|side| side.iter().any(|node| self.always(node)))
    }

    /// Why no HTTP request passes, when that is certain.
    pub(in crate::vet) fn never<'n>(self, node: Node<'n>) -> Option<Why<'n>> {
        match node.shape() {
            Shape::Any => None,
            Shape::Leaf(attribute) => attribute.never(self.paths).then_some(Why::Never(attribute)),
            Shape::Not(inner) => self.always(inner).then_some(Why::NotAlways),
            Shape::Or(any) => first_of_all(any.iter().map(|node| self.never(node))),
            Shape::And(all) => {
                let own = all.iter().find_map(|node| self.never(node));
                own.or_else(|| {
                    all.iter().enumerate().find_map(|(index, a)| {
                        let mut later = all.iter().skip(index + 1);
                        later.find_map(|b| self.clash(a, b))
                    })
                })
            }
        }
    }

    /// Whether every HTTP request passes.
    fn always(self, node: Node<'_>) -> bool {
        match node.shape() {
            Shape::Any => true,
            Shape::Leaf(attribute) => attribute.always(),
            Shape::Not(inner) => self.never(inner).is_some(),
            Shape::And(all) => all.iter().all(|node| self.always(node)),
            Shape::Or(any) => any.iter().any(|node| self.always(node)) || is_every_address(any),
        }
    }

    fn implies(self, narrow: Node<'_>, wide: Node<'_>) -> bool {
        if narrow == wide || self.always(wide) {
            return true;
        }
        match (narrow.shape(), wide.shape()) {
            (_, Shape::And(all)) => all.iter().all(|wide| self.implies(narrow, wide)),
            (Shape::Or(any), _) => any.iter().all(|narrow| self.implies(narrow, wide)),
            (Shape::And(all), Shape::Or(any)) => {
                all.iter().any(|narrow| self.implies(narrow, wide))
                    || any.iter().any(|wide| self.implies(narrow, wide))
            }
            (_, Shape::Or(any)) => any.iter().any(|wide| self.implies(narrow, wide)),
            (Shape::And(all), _) => all.iter().any(|narrow| self.implies(narrow, wide)),
            (Shape::Not(narrow), Shape::Not(wide)) => self.implies(wide, narrow),
            (_, Shape::Not(wide)) => self.clash(narrow, wide).is_some(),
            (Shape::Leaf(narrow), Shape::Leaf(wide)) => narrow.implies(wide),
            (Shape::Any | Shape::Not(_), _) | (Shape::Leaf(_), Shape::Any) => false,
        }
    }

    /// Why nothing passes both, when that is certain.
    fn clash<'n>(self, a: Node<'n>, b: Node<'n>) -> Option<Why<'n>> {
        match (a.shape(), b.shape()) {
            // Before what is asked for is taken apart: all of it together may be what is left out.
            (Shape::Not(inner), _) if self.implies(b, inner) => Some(Why::ButNot(first(b))),
            (_, Shape::Not(inner)) if self.implies(a, inner) => Some(Why::ButNot(first(a))),
            (Shape::And(all), _) => all.iter().find_map(|a| self.clash(a, b)),
            (_, Shape::And(all)) => all.iter().find_map(|b| self.clash(a, b)),
            (Shape::Or(any), _) => first_of_all(any.iter().map(|a| self.clash(a, b))),
            (_, Shape::Or(any)) => first_of_all(any.iter().map(|b| self.clash(a, b))),
            (Shape::Leaf(a), Shape::Leaf(b)) => a.excludes(b).then_some(Why::Both(a, b)),
            (Shape::Any | Shape::Not(_), _) | (_, Shape::Any | Shape::Not(_)) => None,
        }
    }
}

/// The first reason, where every alternative has one.
fn first_of_all<'n>(mut reasons: impl Iterator<Item = Option<Why<'n>>>) -> Option<Why<'n>> {
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then_some(first)
}

/// Whether the ranges include all IPv4 and all IPv6 addresses, and so every caller.
fn is_every_address(any: Nodes<'_>) -> bool {
    let ranges = any.iter().filter_map(|node| match node.shape() {
        Shape::Leaf(Leaf::DirectIp(range)) => Some((0, range)),
        Shape::Leaf(Leaf::RemoteIp(range)) => Some((1, range)),
        Shape::Leaf(Leaf::DestinationIp(range)) => Some((2, range)),
        _ => None,
    });
    let whole: Vec<_> = ranges
        .filter(|(_, range)| range.prefix() == 0)
        .map(|(of, range)| (of, range.address().is_ipv4()))
        .collect();
    whole.iter().any(|(of, v4)| whole.contains(&(*of, !v4)))
}

/// The first test in a tree.
fn first(node: Node<'_>) -> Option<Leaf<'_>> {
    let mut first = None;
    node.each_leaf(&mut |leaf| {
        first.get_or_insert(leaf);
    });
    first
}

/// Why a rule cannot match.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) enum Why<'n> {
    /// Both must hold, and nothing is both.
    Both(Leaf<'n>, Leaf<'n>),
    /// This must hold, and what is left out leaves nothing of it.
    ButNot(Option<Leaf<'n>>),
    /// Nothing is like this.
    Never(Leaf<'n>),
    /// Everything is left out.
    NotAlways,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both(a, b) => write!(f, "nothing has {a} and {b}"),
            Self::ButNot(Some(attribute)) => {
                write!(
                    f,
                    "a negative list leaves out {attribute}, which is asked for"
                )
            }
            Self::ButNot(None) | Self::NotAlways => {
                f.write_str("a negative list leaves out everything")
            }
            Self::Never(attribute) => write!(f, "nothing has {attribute}"),
        }
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DestinationIp(range) => write!(f, "the destination address {range}"),
            Self::DirectIp(range) | Self::RemoteIp(range) => write!(f, "the address {range}"),
            Self::Header(header) => {
                match header.name.as_str() {
                    ":method" => f.write_str("the method ")?,
                    ":authority" => f.write_str("the host ")?,
                    name => write!(f, "the header {name} ")?,
                }
                match &header.test {
                    HeaderTest::String(text) => Written(text).fmt(f),
                    HeaderTest::Range { .. } | HeaderTest::Present(_) => f.write_str("*"),
                }
            }
            Self::Metadata(metadata) => {
                let name = metadata.path.last().map_or("", String::as_str);
                match &metadata.value {
                    ValueMatcher::String(text) => write!(f, "the claim {name} {}", Written(text)),
                    _ => write!(f, "the claim {name}"),
                }
            }
            Self::Path(path) => write!(f, "the path {}", Written(path)),
            Self::Peer(Some(name)) => write!(f, "the identity {}", Written(name)),
            Self::Peer(None) => f.write_str("an encrypted connection"),
            Self::Ports { start, .. } => write!(f, "the port {start}"),
            Self::ServerName(name) => write!(f, "the server name {}", Written(name)),
            Self::Template(template) => write!(f, "a path like {}", template.as_str()),
        }
    }
}

/// A pattern as a policy writes it.
struct Written<'n>(&'n StringMatcher);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.pattern {
            StringPattern::Exact(text) => f.write_str(text),
            StringPattern::Prefix(text) => write!(f, "{text}*"),
            StringPattern::Suffix(text) => write!(f, "*{text}"),
            StringPattern::Contains(text) => write!(f, "*{text}*"),
            StringPattern::Regex(regex) => f.write_str(regex.as_str()),
        }
    }
}
