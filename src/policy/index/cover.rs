//! The covers of a rule: lists of texts, one list per dimension; a request that matches the rule
//! has a text of each list.

use std::borrow::Cow;

use super::dimension::{Dimension, KeyKind, MARKER, range_text};
use crate::matcher::{Cidr, Glob, StringMatcher, StringPattern};
use crate::policy::ir::view::{Leaf, Node, Shape, only_port};
use crate::policy::ir::{HeaderMatcher, HeaderTest, Policy, ValueMatcher};
use crate::policy::rules::metadata;

/// Texts of one dimension; a request that has none of them cannot match.
#[derive(Clone, Debug)]
pub(super) struct Cover<'a> {
    pub(super) dimension: u16,
    pub(super) keys: Vec<Key<'a>>,
}

/// A text, and how the request's text must relate to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) kind: KeyKind,
    pub(super) text: Cow<'a, [u8]>,
}

/// The dimensions that rules speak of, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Dimensions(pub(super) Vec<Dimension>);

/// The covers of a rule, at most one for a dimension; `None` when the rule can never match. Without
/// any, the rule must always be judged.
pub(super) fn covers<'a>(
    policy: &'a Policy,
    dimensions: &mut Dimensions,
) -> Option<Vec<Cover<'a>>> {
    let [permissions, principals] = policy.sides();
    let permissions = any(permissions.iter().map(|node| dimensions.node(node)))?;
    let principals = any(principals.iter().map(|node| dimensions.node(node)))?;
    Some(both(permissions, principals))
}

impl Dimensions {
    fn number(&mut self, dimension: &Dimension) -> Option<u16> {
        let known = self.0.iter().position(|known| known == dimension);
        let number = known.unwrap_or(self.0.len());
        if known.is_none() {
            if number >= MOST_DIMENSIONS {
                return None;
            }
            self.0.push(dimension.clone());
        }
        u16::try_from(number).ok()
    }

    fn cover<'a>(&mut self, dimension: &Dimension, keys: Option<Vec<Key<'a>>>) -> Vec<Cover<'a>> {
        let cover = keys.and_then(|keys| {
            let dimension = self.number(dimension)?;
            Some(Cover { dimension, keys })
        });
        cover.into_iter().collect()
    }

    fn node<'a>(&mut self, node: Node<'a>) -> Option<Vec<Cover<'a>>> {
        Some(match node.shape() {
            Shape::And(nodes) => {
                let mut covers = Vec::new();
                for node in nodes.iter() {
                    covers = both(covers, self.node(node)?);
                }
                covers
            }
            Shape::Or(nodes) => any(nodes.iter().map(|node| self.node(node)))?,
            Shape::Not(inner) if inner.is_any() => return None,
            Shape::Any | Shape::Not(_) => Vec::new(),
            Shape::Leaf(leaf) => self.leaf(leaf),
        })
    }

    fn leaf<'a>(&mut self, leaf: Leaf<'a>) -> Vec<Cover<'a>> {
        let (dimension, keys) = match leaf {
            Leaf::Header(matcher) => return self.header(matcher),
            Leaf::Path(matcher) => (Dimension::UrlPath, text_keys(&Dimension::UrlPath, matcher)),
            Leaf::Peer(Some(matcher)) => (Dimension::Peer, text_keys(&Dimension::Peer, matcher)),
            Leaf::ServerName(matcher) => (Dimension::Sni, text_keys(&Dimension::Sni, matcher)),
            Leaf::Template(template) => {
                let key = Key::new(KeyKind::Prefix, template.literal_prefix().as_bytes());
                (Dimension::UrlPath, Some(vec![key]))
            }
            Leaf::Ports { start, end } => (Dimension::Port, port_keys(start, end)),
            Leaf::DirectIp(range) => (Dimension::DirectIp, Some(vec![range_key(&range)])),
            Leaf::RemoteIp(range) => (Dimension::RemoteIp, Some(vec![range_key(&range)])),
            Leaf::Metadata(matcher)
                if !matcher.invert && matcher.filter == metadata::JWT_FILTER =>
            {
                match matcher.path.split_first() {
                    Some((first, path)) if first == "payload" && !path.is_empty() => {
                        let dimension = Dimension::Claim(path.to_vec());
                        let keys = value_keys(&dimension, &matcher.value, true);
                        (dimension, keys)
                    }
                    _ => return Vec::new(),
                }
            }
            Leaf::DestinationIp(_) | Leaf::Metadata(_) | Leaf::Peer(None) => return Vec::new(),
        };
        self.cover(&dimension, keys)
    }

    fn header<'a>(&mut self, matcher: &'a HeaderMatcher) -> Vec<Cover<'a>> {
        let HeaderTest::String(test) = &matcher.test else {
            return Vec::new();
        };
        if matcher.invert || matcher.treat_missing_as_empty {
            return Vec::new();
        }
        let dimension = match matcher.name.as_str() {
            ":authority" | "host" => Dimension::Authority,
            ":method" => Dimension::Method,
            ":path" => Dimension::Path,
            name if name.starts_with(':') => return Vec::new(),
            name => Dimension::Header(name.to_owned()),
        };
        self.cover(&dimension, text_keys(&dimension, test))
    }
}

impl<'a> Key<'a> {
    pub(super) fn new(kind: KeyKind, text: impl Into<Cow<'a, [u8]>>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

/// Either side's covers hold; of two in one dimension the shorter serves better.
fn both<'a>(mut left: Vec<Cover<'a>>, right: Vec<Cover<'a>>) -> Vec<Cover<'a>> {
    for cover in right {
        let mut known = left.iter_mut();
        match known.find(|known| known.dimension == cover.dimension) {
            Some(known) if known.keys.len() > cover.keys.len() => *known = cover,
            Some(_) => {}
            None => left.push(cover),
        }
    }
    left
}

/// Only what covers every alternative covers their OR; alternatives that can never match do not
/// count. `None` when none can.
fn any<'a>(alternatives: impl Iterator<Item = Option<Vec<Cover<'a>>>>) -> Option<Vec<Cover<'a>>> {
    alternatives.flatten().reduce(|mut left, right| {
        left.retain_mut(|cover| {
            let mut others = right.iter();
            let other = others.find(|other| other.dimension == cover.dimension);
            other.is_some_and(|other| {
                cover.keys.extend(other.keys.iter().cloned());
                true
            })
        });
        left
    })
}

/// The texts that make a test hold: the request must have one of them. `None` when there is no such
/// list.
fn text_keys<'a>(dimension: &Dimension, matcher: &'a StringMatcher) -> Option<Vec<Key<'a>>> {
    let folds = *dimension == Dimension::Authority;
    if matcher.ignore_case && !folds {
        return None;
    }
    let mut keys = match &matcher.pattern {
        StringPattern::Exact(text) => vec![Key::new(KeyKind::Exact, text.as_bytes())],
        StringPattern::Prefix(text) => vec![filled(KeyKind::Prefix, text.as_bytes())?],
        StringPattern::Suffix(text) => vec![filled(KeyKind::Suffix, text.as_bytes())?],
        StringPattern::Regex(regex) => {
            let keys = regex.as_globs()?.iter();
            let keys = keys.map(|glob| glob_key(dimension, glob));
            keys.collect::<Option<_>>()?
        }
        StringPattern::Contains(_) => return None,
    };
    if folds {
        for key in &mut keys {
            if key.text.iter().any(u8::is_ascii_uppercase) {
                key.text = key.text.to_ascii_lowercase().into();
            }
        }
    }
    Some(keys)
}

fn glob_key<'a>(dimension: &Dimension, glob: &'a Glob) -> Option<Key<'a>> {
    let Some((_, tail)) = glob.rest.last() else {
        return Some(Key::new(KeyKind::Exact, &*glob.head));
    };
    if *dimension == Dimension::Peer
        && let Some(marker) = marker(glob)
    {
        return Some(Key::new(KeyKind::Marker, marker));
    }
    filled(KeyKind::Suffix, tail).or_else(|| filled(KeyKind::Prefix, &glob.head))
}

/// A key of a text that is not empty: every text starts and ends with the empty one.
fn filled(kind: KeyKind, text: &[u8]) -> Option<Key<'_>> {
    (!text.is_empty()).then(|| Key::new(kind, text))
}

/// A whole `/sa/X` or `/ns/X` that every text of the pattern holds; the account is the rarer of the
/// two.
fn marker(glob: &Glob) -> Option<&[u8]> {
    let count = glob.rest.len();
    let middle = std::iter::once((glob.head.as_slice(), false));
    let rest = glob.rest.iter().enumerate();
    let rest = rest.map(|(index, (_, text))| (text.as_slice(), index + 1 == count));
    let mut found: Option<&[u8]> = None;
    for (text, ends) in middle.chain(rest) {
        for start in 0..text.len() {
            let from = text.get(start..).unwrap_or_default();
            if !from.starts_with(b"/ns/") && !from.starts_with(b"/sa/") {
                continue;
            }
            let value = from.get(MARKER..).unwrap_or_default();
            let length = match value.iter().position(|byte| *byte == b'/') {
                Some(length) => length,
                None if ends => value.len(),
                None => continue,
            };
            let marker = from.get(..MARKER + length)?;
            if found.is_none_or(|found| found.starts_with(b"/ns/")) {
                found = Some(marker);
            }
        }
    }
    found
}

fn value_keys<'a>(
    dimension: &Dimension,
    test: &'a ValueMatcher,
    outermost: bool,
) -> Option<Vec<Key<'a>>> {
    match test {
        ValueMatcher::String(matcher) => text_keys(dimension, matcher),
        ValueMatcher::ListOneOf(element) if outermost => value_keys(dimension, element, false),
        ValueMatcher::Or(any) => {
            let mut keys = Vec::new();
            for test in any {
                keys.extend(value_keys(dimension, test, outermost)?);
            }
            // A claim's list and string forms ask for the same texts.
            let mut seen = hashbrown::HashSet::with_hasher(foldhash::fast::FixedState::default());
            keys.retain(|key: &Key<'_>| seen.insert(key.clone()));
            Some(keys)
        }
        _ => None,
    }
}

fn port_keys(start: u32, end: u32) -> Option<Vec<Key<'static>>> {
    let port = only_port(start, end)?.to_be_bytes();
    Some(vec![Key::new(KeyKind::Exact, port.to_vec())])
}

fn range_key(range: &Cidr) -> Key<'static> {
    Key::new(KeyKind::Range, range_text(range).to_vec())
}

/// Each dimension costs every request a look; rules on more headers and claims than this are judged
/// unposted or under others.
const MOST_DIMENSIONS: usize = 64;
