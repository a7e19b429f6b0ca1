use super::view::View;
use crate::matcher::{StringMatcher, StringPattern, contains};
use crate::policy::eval;
use crate::policy::ir::view::{Leaf, Node, Nodes, Shape};
use crate::policy::ir::{HeaderMatcher, HeaderTest, Permission, Policy, Principal};

/// Rules laid out flat: one array of operations, one pool of texts, so that judging a rule touches little memory.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Where each rule starts.
    roots: Vec<u32>,
    /// Each operation is followed by its operands.
    ops: Vec<Op>,
    texts: Vec<u8>,
    /// Tests that have no flat form.
    permissions: Vec<Permission>,
    principals: Vec<Principal>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Never,
    Always,
    /// All children, up to this node.
    All(u32),
    /// One of the children, up to this node.
    AnyOf(u32),
    /// Not the child, which ends before this node.
    Not(u32),
    Text {
        field: Field,
        kind: Kind,
        ignore_case: bool,
        start: u32,
        length: u32,
    },
    Port(u16),
    Permission(u32),
    Principal(u32),
}

/// Which text of a request is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Authority,
    Method,
    Path,
    Peer,
    Sni,
    UrlPath,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Exact,
    /// `.*text.*`, as namespaces are tested.
    Inside,
    /// `.+`
    NonEmpty,
    Prefix,
    Suffix,
}

impl Rules {
    /// Adds a rule; rules are numbered from 0 in the order they are added. Groups of one are left
    /// out, and so is a side that is open to all.
    pub(super) fn add(&mut self, policy: &Policy) {
        self.roots.push(self.position());
        let sides = policy.sides().into_iter();
        let closed: Vec<_> = sides
            .filter(|side| !side.iter().any(Node::is_any))
            .collect();
        match closed.as_slice() {
            [] => self.ops.push(Op::Always),
            [side] => self.list(Op::AnyOf, *side),
            both => self.group(Op::All, |rules| {
                both.iter().for_each(|side| rules.list(Op::AnyOf, *side));
            }),
        }
    }

    /// Whether a rule matches.
    pub(super) fn holds(&self, rule: u32, view: &View<'_>) -> bool {
        let root = usize::try_from(rule)
            .ok()
            .and_then(|rule| self.roots.get(rule));
        root.is_some_and(|root| self.op_holds(*root, view))
    }

    fn op_holds(&self, at: u32, view: &View<'_>) -> bool {
        match self.op(at) {
            Op::Never => false,
            Op::Always => true,
            Op::All(end) => self
                .children(at, end)
                .all(|child| self.op_holds(child, view)),
            Op::AnyOf(end) => self
                .children(at, end)
                .any(|child| self.op_holds(child, view)),
            Op::Not(_) => !self.op_holds(at + 1, view),
            Op::Text {
                field,
                kind,
                ignore_case,
                start,
                length,
            } => {
                let pattern = self.text(start, length);
                let accepts = |text: &[u8]| accepts(kind, ignore_case, pattern, text);
                match field {
                    Field::Authority => view.authority.is_some_and(accepts),
                    Field::Method => view.method.is_some_and(accepts),
                    Field::Path => view.path.is_some_and(accepts),
                    Field::Peer => view.any_peer_name(accepts),
                    Field::Sni => accepts(view.sni),
                    Field::UrlPath => view.url_path.is_some_and(accepts),
                }
            }
            Op::Port(port) => view.request.destination_port() == Some(port),
            Op::Permission(test) => at_index(&self.permissions, test)
                .is_some_and(|test| eval::permission_matches(test, view.request)),
            Op::Principal(test) => at_index(&self.principals, test)
                .is_some_and(|test| eval::principal_matches(test, view.request)),
        }
    }

    fn op(&self, at: u32) -> Op {
        at_index(&self.ops, at).copied().unwrap_or(Op::Never)
    }

    fn children(&self, at: u32, end: u32) -> impl Iterator<Item = u32> {
        let first = (at + 1 < end).then_some(at + 1);
        std::iter::successors(first, move |child| {
            let next = match self.op(*child) {
                Op::All(end) | Op::AnyOf(end) | Op::Not(end) => end,
                _ => child + 1,
            };
            (next < end).then_some(next)
        })
    }

    fn text(&self, start: u32, length: u32) -> &[u8] {
        let start = start as usize;
        self.texts
            .get(start..start + length as usize)
            .unwrap_or_default()
    }

    fn position(&self) -> u32 {
        position(self.ops.len())
    }

    /// Adds an operation and its operands.
    fn group(&mut self, kind: fn(u32) -> Op, children: impl FnOnce(&mut Self)) {
        let at = self.ops.len();
        self.ops.push(Op::Never);
        children(self);
        let end = self.position();
        if let Some(op) = self.ops.get_mut(at) {
            *op = kind(end);
        }
    }

    fn list(&mut self, kind: fn(u32) -> Op, nodes: Nodes<'_>) {
        match nodes.only() {
            Some(only) => self.add_node(only),
            None => self.group(kind, |rules| {
                nodes.iter().for_each(|node| rules.add_node(node))
            }),
        }
    }

    fn add_node(&mut self, node: Node<'_>) {
        let op = match node.shape() {
            Shape::And(all) => return self.list(Op::All, all),
            Shape::Or(any) => return self.list(Op::AnyOf, any),
            Shape::Not(inner) => return self.group(Op::Not, |rules| rules.add_node(inner)),
            Shape::Any => Op::Always,
            Shape::Leaf(leaf) => self.flat(leaf).unwrap_or_else(|| self.whole(node)),
        };
        self.ops.push(op);
    }

    fn flat(&mut self, leaf: Leaf<'_>) -> Option<Op> {
        match leaf {
            Leaf::Header(matcher) => self.header(matcher),
            Leaf::Path(matcher) => self.string(Field::UrlPath, matcher),
            Leaf::Peer(Some(matcher)) => self.string(Field::Peer, matcher),
            Leaf::Ports { start, end } if end == start + 1 => {
                u16::try_from(start).ok().map(Op::Port)
            }
            Leaf::ServerName(matcher) => self.string(Field::Sni, matcher),
            _ => None,
        }
    }

    fn whole(&mut self, node: Node<'_>) -> Op {
        match node {
            Node::Permission(permission) => {
                self.permissions.push(permission.clone());
                Op::Permission(position(self.permissions.len() - 1))
            }
            Node::Principal(principal) => {
                self.principals.push(principal.clone());
                Op::Principal(position(self.principals.len() - 1))
            }
        }
    }

    /// A plain test of a pseudo-header.
    fn header(&mut self, matcher: &HeaderMatcher) -> Option<Op> {
        let field = match matcher.name.as_str() {
            ":authority" | "host" => Field::Authority,
            ":method" => Field::Method,
            ":path" => Field::Path,
            _ => return None,
        };
        match &matcher.test {
            HeaderTest::String(test) if !matcher.invert && !matcher.treat_missing_as_empty => {
                self.string(field, test)
            }
            _ => None,
        }
    }

    fn string(&mut self, field: Field, matcher: &StringMatcher) -> Option<Op> {
        let (kind, text) = match &matcher.pattern {
            StringPattern::Exact(text) => (Kind::Exact, text.as_bytes()),
            StringPattern::Prefix(text) => (Kind::Prefix, text.as_bytes()),
            StringPattern::Suffix(text) => (Kind::Suffix, text.as_bytes()),
            StringPattern::Regex(regex) if regex.as_str() == ".+" => (Kind::NonEmpty, &b""[..]),
            StringPattern::Regex(regex) => match regex.as_globs()? {
                [only] => (Kind::Inside, only.as_inside()?),
                _ => return None,
            },
            StringPattern::Contains(_) => return None,
        };
        let start = position(self.texts.len());
        self.texts.extend_from_slice(text);
        Some(Op::Text {
            field,
            kind,
            ignore_case: matcher.ignore_case,
            start,
            length: position(text.len()),
        })
    }
}

fn accepts(kind: Kind, ignore_case: bool, pattern: &[u8], text: &[u8]) -> bool {
    let part = match kind {
        Kind::Exact => Some(text),
        Kind::Inside => return !text.contains(&b'\n') && contains(text, pattern),
        Kind::NonEmpty => return !text.is_empty() && !text.contains(&b'\n'),
        Kind::Prefix => text.get(..pattern.len()),
        Kind::Suffix => text
            .len()
            .checked_sub(pattern.len())
            .and_then(|start| text.get(start..)),
    };
    part.is_some_and(|part| match ignore_case {
        false => part == pattern,
        true => part.eq_ignore_ascii_case(pattern),
    })
}

fn at_index<T>(list: &[T], index: u32) -> Option<&T> {
    list.get(index as usize)
}

/// A place in one of the arrays; four billion nodes do not fit into memory anyway.
pub(super) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
