use super::super::eval;
use super::super::ir::{HeaderMatcher, HeaderTest, Permission, Policy, Principal};
use super::view::View;
use crate::matcher::{StringMatcher, StringPattern, contains};

/// Rules laid out flat: one array of nodes, one pool of texts, so that judging a rule touches little memory.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Where each rule starts.
    roots: Vec<u32>,
    /// Each node is followed by its children.
    nodes: Vec<Node>,
    texts: Vec<u8>,
    /// Tests that have no flat form.
    permissions: Vec<Permission>,
    principals: Vec<Principal>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
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
    /// Adds a rule; rules are numbered from 0 in the order they are added. Groups of one are left out, and so is a side that is open to all.
    pub(super) fn add(&mut self, policy: &Policy) {
        self.roots.push(self.position());
        let (permissions, principals) = (&policy.permissions, &policy.principals);
        let sides = [
            !permissions.contains(&Permission::Any),
            !principals.contains(&Principal::Any),
        ];
        match sides {
            [false, false] => self.nodes.push(Node::Always),
            [true, false] => self.any_permission(permissions),
            [false, true] => self.any_principal(principals),
            [true, true] => self.group(Node::All, |rules| {
                rules.any_permission(permissions);
                rules.any_principal(principals);
            }),
        }
    }

    fn any_permission(&mut self, nodes: &[Permission]) {
        match nodes {
            [only] => self.permission(only),
            _ => self.group(Node::AnyOf, |rules| {
                nodes.iter().for_each(|node| rules.permission(node))
            }),
        }
    }

    fn any_principal(&mut self, nodes: &[Principal]) {
        match nodes {
            [only] => self.principal(only),
            _ => self.group(Node::AnyOf, |rules| {
                nodes.iter().for_each(|node| rules.principal(node))
            }),
        }
    }

    /// Whether a rule matches.
    pub(super) fn holds(&self, rule: u32, view: &View<'_>) -> bool {
        let root = usize::try_from(rule)
            .ok()
            .and_then(|rule| self.roots.get(rule));
        root.is_some_and(|root| self.node_holds(*root, view))
    }

    fn node_holds(&self, at: u32, view: &View<'_>) -> bool {
        match self.node(at) {
            Node::Never => false,
            Node::Always => true,
            Node::All(end) => self
                .children(at, end)
                .all(|child| self.node_holds(child, view)),
            Node::AnyOf(end) => self
                .children(at, end)
                .any(|child| self.node_holds(child, view)),
            Node::Not(_) => !self.node_holds(at + 1, view),
            Node::Text {
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
            Node::Port(port) => view.request.destination_port() == Some(port),
            Node::Permission(test) => at_index(&self.permissions, test)
                .is_some_and(|test| eval::permission_matches(test, view.request)),
            Node::Principal(test) => at_index(&self.principals, test)
                .is_some_and(|test| eval::principal_matches(test, view.request)),
        }
    }

    fn node(&self, at: u32) -> Node {
        at_index(&self.nodes, at).copied().unwrap_or(Node::Never)
    }

    fn children(&self, at: u32, end: u32) -> impl Iterator<Item = u32> {
        let first = (at + 1 < end).then_some(at + 1);
        std::iter::successors(first, move |child| {
            let next = match self.node(*child) {
                Node::All(end) | Node::AnyOf(end) | Node::Not(end) => end,
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
        position(self.nodes.len())
    }

    /// Adds a node and its children.
    fn group(&mut self, kind: fn(u32) -> Node, children: impl FnOnce(&mut Self)) {
        let at = self.nodes.len();
        self.nodes.push(Node::Never);
        children(self);
        let end = self.position();
        if let Some(node) = self.nodes.get_mut(at) {
            *node = kind(end);
        }
    }

    fn permission(&mut self, node: &Permission) {
        match node {
            Permission::Any => self.nodes.push(Node::Always),
            Permission::And(all) => match all.as_slice() {
                [only] => self.permission(only),
                _ => self.group(Node::All, |rules| {
                    all.iter().for_each(|node| rules.permission(node))
                }),
            },
            Permission::Or(any) => self.any_permission(any),
            Permission::Not(inner) => self.group(Node::Not, |rules| rules.permission(inner)),
            Permission::DestinationPort(port) => self.nodes.push(Node::Port(*port)),
            _ => {
                let flat = match node {
                    Permission::Header(matcher) => self.header(matcher),
                    Permission::UrlPath(matcher) => self.string(Field::UrlPath, matcher),
                    Permission::RequestedServerName(matcher) => self.string(Field::Sni, matcher),
                    _ => None,
                };
                let node = flat.unwrap_or_else(|| {
                    self.permissions.push(node.clone());
                    Node::Permission(position(self.permissions.len() - 1))
                });
                self.nodes.push(node);
            }
        }
    }

    fn principal(&mut self, node: &Principal) {
        match node {
            Principal::Any => self.nodes.push(Node::Always),
            Principal::And(all) => match all.as_slice() {
                [only] => self.principal(only),
                _ => self.group(Node::All, |rules| {
                    all.iter().for_each(|node| rules.principal(node))
                }),
            },
            Principal::Or(any) => self.any_principal(any),
            Principal::Not(inner) => self.group(Node::Not, |rules| rules.principal(inner)),
            _ => {
                let flat = match node {
                    Principal::Header(matcher) => self.header(matcher),
                    Principal::UrlPath(matcher) => self.string(Field::UrlPath, matcher),
                    Principal::Authenticated(Some(matcher)) => self.string(Field::Peer, matcher),
                    _ => None,
                };
                let node = flat.unwrap_or_else(|| {
                    self.principals.push(node.clone());
                    Node::Principal(position(self.principals.len() - 1))
                });
                self.nodes.push(node);
            }
        }
    }

    /// A plain test of a pseudo-header.
    fn header(&mut self, matcher: &HeaderMatcher) -> Option<Node> {
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

    fn string(&mut self, field: Field, matcher: &StringMatcher) -> Option<Node> {
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
        Some(Node::Text {
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
