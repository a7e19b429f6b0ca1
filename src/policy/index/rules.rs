use super::view::View;
use crate::matcher::{StringMatcher, StringPattern, contains};
use crate::policy::eval;
use crate::policy::ir::view::{Leaf, Node, Nodes, Shape, only_port};
use crate::policy::ir::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, ValueMatcher,
};
use crate::policy::rules::metadata;

/// Rules as flat code: one array of tests, one pool of texts, so that judging a rule touches little
/// memory and calls no function for an AND, an OR or a NOT.
///
/// Each test names the one that follows when it holds and the one that follows when it fails, or
/// [`YES`] or [`NO`]. `(a OR b) AND NOT c` becomes
///
/// ```text
/// a: if it holds go to c, else to b
/// b: if it holds go to c, else NO
/// c: if it holds NO, else YES
/// ```
#[derive(Debug, Default)]
pub(super) struct FlatRules {
    /// Where each rule starts.
    starts: Vec<u32>,
    steps: Vec<Step>,
    texts: Vec<u8>,
    /// Tests that have no flat form.
    permissions: Vec<Permission>,
    principals: Vec<Principal>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    test: Test,
    /// What follows when the test holds.
    yes: u32,
    /// What follows when it fails.
    no: u32,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Text {
        field: Field,
        comparison: Comparison,
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
    Issuer,
    Method,
    Path,
    Peer,
    Sni,
    Subject,
    UrlPath,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Exact,
    /// `.*text.*`, as namespaces are tested.
    Inside,
    /// `.+`
    NonEmpty,
    Prefix,
    Suffix,
}

impl FlatRules {
    /// Adds a rule; rules are numbered from 0 in the order in which they are added.
    pub(super) fn add(&mut self, policy: &Policy) {
        let [permissions, principals] = policy.sides();
        let principals = self.any(principals, YES, NO);
        let start = self.any(permissions, principals, NO);
        self.starts.push(start);
    }

    /// Whether a rule matches.
    pub(super) fn matches(&self, rule: u32, view: &View<'_>) -> bool {
        // INVARIANT: a step names only steps that were added before it, so a rule comes to an end.
        let mut next = at_index(&self.starts, rule).copied().unwrap_or(NO);
        while let Some(step) = at_index(&self.steps, next) {
            next = if self.holds(step.test, view) {
                step.yes
            } else {
                step.no
            };
        }
        next == YES
    }

    fn holds(&self, test: Test, view: &View<'_>) -> bool {
        match test {
            Test::Text {
                field,
                comparison,
                ignore_case,
                start,
                length,
            } => {
                let pattern = part(&self.texts, start, length);
                let accepts = |text: &[u8]| comparison.accepts(ignore_case, pattern, text);
                match field {
                    Field::Authority => view.authority().is_some_and(accepts),
                    Field::Issuer => view.claim("iss").is_some_and(accepts),
                    Field::Method => view.method.is_some_and(accepts),
                    Field::Path => view.path.is_some_and(accepts),
                    Field::Peer => view.any_peer_name(accepts),
                    Field::Sni => accepts(view.sni),
                    Field::Subject => view.claim("sub").is_some_and(accepts),
                    Field::UrlPath => view.url_path.is_some_and(accepts),
                }
            }
            Test::Port(port) => view.request.destination_port() == Some(port),
            Test::Permission(test) => at_index(&self.permissions, test)
                .is_some_and(|test| eval::permission_matches(test, view.request)),
            Test::Principal(test) => at_index(&self.principals, test)
                .is_some_and(|test| eval::principal_matches(test, view.request)),
        }
    }

    /// Adds the steps of a node, given what follows them; says where they start. What follows must
    /// be there first, so steps are added from the last to the first.
    fn node(&mut self, node: Node<'_>, yes: u32, no: u32) -> u32 {
        let test = match node.shape() {
            Shape::Any => return yes,
            Shape::And(all) => {
                let nodes = all.iter().rev();
                return nodes.fold(yes, |next, node| self.node(node, next, no));
            }
            Shape::Or(any) => return self.any(any, yes, no),
            Shape::Not(inner) => return self.node(inner, no, yes),
            Shape::Leaf(leaf) => self.flat(leaf).unwrap_or_else(|| self.whole(node)),
        };
        self.steps.push(Step { test, yes, no });
        position(self.steps.len() - 1)
    }

    fn any(&mut self, nodes: Nodes<'_>, yes: u32, no: u32) -> u32 {
        if nodes.iter().any(Node::is_any) {
            return yes;
        }
        let nodes = nodes.iter().rev();
        nodes.fold(no, |next, node| self.node(node, yes, next))
    }

    fn flat(&mut self, leaf: Leaf<'_>) -> Option<Test> {
        match leaf {
            Leaf::Header(matcher) => self.header(matcher),
            Leaf::Metadata(matcher) => self.claim(matcher),
            Leaf::Path(matcher) => self.string(Field::UrlPath, matcher),
            Leaf::Peer(Some(matcher)) => self.string(Field::Peer, matcher),
            Leaf::Ports { start, end } => only_port(start, end).map(Test::Port),
            Leaf::ServerName(matcher) => self.string(Field::Sni, matcher),
            _ => None,
        }
    }

    fn whole(&mut self, node: Node<'_>) -> Test {
        match node {
            Node::Permission(permission) => {
                self.permissions.push(permission.clone());
                Test::Permission(position(self.permissions.len() - 1))
            }
            Node::Principal(principal) => {
                self.principals.push(principal.clone());
                Test::Principal(position(self.principals.len() - 1))
            }
        }
    }

    /// A plain test of a pseudo-header.
    fn header(&mut self, matcher: &HeaderMatcher) -> Option<Test> {
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

    /// A plain test of the claims that make a request principal.
    fn claim(&mut self, matcher: &MetadataMatcher) -> Option<Test> {
        if matcher.invert || matcher.filter != metadata::JWT_FILTER {
            return None;
        }
        let [payload, name] = matcher.path.as_slice() else {
            return None;
        };
        let field = match (payload.as_str(), name.as_str()) {
            ("payload", "iss") => Field::Issuer,
            ("payload", "sub") => Field::Subject,
            _ => return None,
        };
        match &matcher.value {
            ValueMatcher::String(test) => self.string(field, test),
            _ => None,
        }
    }

    fn string(&mut self, field: Field, matcher: &StringMatcher) -> Option<Test> {
        let (comparison, text) = match &matcher.pattern {
            StringPattern::Exact(text) => (Comparison::Exact, text.as_bytes()),
            StringPattern::Prefix(text) => (Comparison::Prefix, text.as_bytes()),
            StringPattern::Suffix(text) => (Comparison::Suffix, text.as_bytes()),
            StringPattern::Regex(regex) if regex.as_str() == ".+" => {
                (Comparison::NonEmpty, &b""[..])
            }
            StringPattern::Regex(regex) => match regex.as_globs()? {
                [only] => (Comparison::Inside, only.as_inside()?),
                _ => return None,
            },
            StringPattern::Contains(_) => return None,
        };
        let start = position(self.texts.len());
        self.texts.extend_from_slice(text);
        Some(Test::Text {
            field,
            comparison,
            ignore_case: matcher.ignore_case,
            start,
            length: position(text.len()),
        })
    }
}

impl Comparison {
    fn accepts(self, ignore_case: bool, pattern: &[u8], text: &[u8]) -> bool {
        let part = match self {
            Self::Exact => Some(text),
            Self::Inside => return contains(text, pattern) && !text.contains(&b'\n'),
            Self::NonEmpty => return !text.is_empty() && !text.contains(&b'\n'),
            Self::Prefix => text.get(..pattern.len()),
            Self::Suffix => text
                .len()
                .checked_sub(pattern.len())
                .and_then(|start| text.get(start..)),
        };
        part.is_some_and(|part| match ignore_case {
            false => part == pattern,
            true => part.eq_ignore_ascii_case(pattern),
        })
    }
}

fn at_index<T>(list: &[T], index: u32) -> Option<&T> {
    list.get(index as usize)
}

/// One of the texts that lie end to end.
pub(super) fn part(texts: &[u8], start: u32, length: u32) -> &[u8] {
    let (start, length) = (start as usize, length as usize);
    texts.get(start..start + length).unwrap_or_default()
}

/// A position in one of the arrays; four billion nodes do not fit into memory anyway.
pub(super) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The rule matches.
const YES: u32 = u32::MAX - 1;
/// The rule does not match; also what [`position`] says of a step beyond all numbers.
const NO: u32 = u32::MAX;
