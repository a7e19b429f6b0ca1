use super::text::{excludes, includes, is_non_empty, matches_all};
use crate::istio::PathNormalization;
use crate::matcher::{StringMatcher, StringPattern, path};
use crate::policy::ir::view::Leaf;
use crate::policy::ir::{HeaderMatcher, HeaderTest, ValueMatcher};
use crate::policy::normalization;

/// A text in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::vet) enum Key {
    /// All of it.
    Whole(String),
    /// How it starts.
    Start(String),
}

impl Leaf<'_> {
    /// What something must be, or start with, to pass; `None` where that is nothing certain, or nothing that says more than `/`.
    pub(in crate::vet) fn key(self) -> Option<Key> {
        let start = |text: &str| {
            let says_something = !text.is_empty() && text != "/";
            says_something.then(|| Key::Start(text.to_ascii_lowercase()))
        };
        let matcher = match self {
            Self::Template(template) => return start(template.literal_prefix()),
            Self::Path(matcher) | Self::Peer(Some(matcher)) | Self::ServerName(matcher) => matcher,
            Self::Header(HeaderMatcher {
                test: HeaderTest::String(matcher),
                invert: false,
                treat_missing_as_empty: false,
                ..
            }) => matcher,
            _ => return None,
        };
        match &matcher.pattern {
            StringPattern::Exact(text) => Some(Key::Whole(text.to_ascii_lowercase())),
            StringPattern::Prefix(text) => start(text),
            _ => None,
        }
    }

    /// Whether every HTTP request passes.
    pub(super) fn always(self) -> bool {
        match self {
            // Envoy answers 400 to whatever lacks one of these.
            Self::Header(header) if is_pseudo(&header.name) => match &header.test {
                HeaderTest::Present(true) => !header.invert,
                HeaderTest::String(matcher) => !header.invert && matches_all(matcher, true),
                HeaderTest::Present(false) | HeaderTest::Range { .. } => false,
            },
            Self::Path(matcher) => {
                matches_all(matcher, true)
                    || is_non_empty(matcher)
                    || *matcher == StringMatcher::prefix("/")
            }
            Self::ServerName(matcher) => matches_all(matcher, true),
            Self::Ports { start, end } => start == 0 && end > u32::from(u16::MAX),
            _ => false,
        }
    }

    /// Whether no HTTP request passes; paths are those that are left after normalization.
    pub(super) fn never(self, paths: PathNormalization) -> bool {
        match self {
            Self::Path(matcher) => !is_possible_path(matcher, paths),
            // Handshakes bring the name in lower case.
            Self::ServerName(matcher) => match &matcher.pattern {
                StringPattern::Exact(text)
                | StringPattern::Prefix(text)
                | StringPattern::Suffix(text) => text.bytes().any(|byte| byte.is_ascii_uppercase()),
                StringPattern::Contains(_) | StringPattern::Regex(_) => false,
            },
            Self::Peer(Some(matcher)) => match &matcher.pattern {
                StringPattern::Exact(text) | StringPattern::Prefix(text) => {
                    text.starts_with("spiffe://spiffe://")
                }
                _ => false,
            },
            Self::Ports { start, end } => start >= end,
            _ => false,
        }
    }

    /// Whether whatever passes this passes the other, too.
    pub(super) fn implies(self, other: Self) -> bool {
        match (self, other) {
            (Self::DestinationIp(a), Self::DestinationIp(b))
            | (Self::DirectIp(a), Self::DirectIp(b))
            | (Self::RemoteIp(a), Self::RemoteIp(b)) => {
                a.prefix() >= b.prefix() && b.contains(a.address())
            }
            (
                Self::Ports {
                    start: a,
                    end: a_end,
                },
                Self::Ports {
                    start: b,
                    end: b_end,
                },
            ) => b <= a && a_end <= b_end,
            (Self::Path(a), Self::Path(b)) | (Self::ServerName(a), Self::ServerName(b)) => {
                includes(a, b, true)
            }
            (Self::Path(path), Self::Template(template)) => match &path.pattern {
                StringPattern::Exact(text) => {
                    !path.ignore_case && template.matches(text.as_bytes())
                }
                _ => false,
            },
            (Self::Template(template), Self::Path(path)) => match &path.pattern {
                StringPattern::Prefix(start) => template.literal_prefix().starts_with(&**start),
                _ => false,
            },
            (Self::Peer(_), Self::Peer(None)) => true,
            (Self::Peer(Some(a)), Self::Peer(Some(b))) => includes(a, b, true),
            (Self::Header(a), Self::Header(b)) => header_implies(a, b),
            (Self::Metadata(a), Self::Metadata(b)) => {
                let same = a.filter == b.filter && a.path == b.path;
                same && !a.invert && !b.invert && value_implies(&a.value, &b.value)
            }
            _ => self == other,
        }
    }

    /// Whether nothing passes both.
    pub(super) fn excludes(self, other: Self) -> bool {
        match (self, other) {
            (Self::DestinationIp(a), Self::DestinationIp(b))
            | (Self::DirectIp(a), Self::DirectIp(b))
            | (Self::RemoteIp(a), Self::RemoteIp(b)) => {
                !a.contains(b.address()) && !b.contains(a.address())
            }
            (
                Self::Ports {
                    start: a,
                    end: a_end,
                },
                Self::Ports {
                    start: b,
                    end: b_end,
                },
            ) => a_end <= b || b_end <= a,
            (Self::Path(a), Self::Path(b)) | (Self::ServerName(a), Self::ServerName(b)) => {
                excludes(a, b)
            }
            (Self::Path(path), Self::Template(template))
            | (Self::Template(template), Self::Path(path)) => match &path.pattern {
                StringPattern::Exact(text) => {
                    !path.ignore_case && !template.matches(text.as_bytes())
                }
                StringPattern::Prefix(start) => {
                    let literal = template.literal_prefix();
                    !literal.starts_with(&**start) && !start.starts_with(literal)
                }
                _ => false,
            },
            // A request has one method, one path, one host; of other headers it may have several.
            (Self::Header(a), Self::Header(b)) if a.name == b.name && is_pseudo(&a.name) => {
                match (&a.test, &b.test) {
                    (HeaderTest::String(one), HeaderTest::String(two)) => {
                        !a.invert && !b.invert && excludes(one, two)
                    }
                    _ => false,
                }
            }
            // A claim that must be a string is one.
            (Self::Metadata(a), Self::Metadata(b)) if a.filter == b.filter && a.path == b.path => {
                match (&a.value, &b.value) {
                    (ValueMatcher::String(one), ValueMatcher::String(two)) => {
                        !a.invert && !b.invert && excludes(one, two)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

fn is_pseudo(name: &str) -> bool {
    matches!(name, ":method" | ":authority" | ":path")
}

fn header_implies(a: &HeaderMatcher, b: &HeaderMatcher) -> bool {
    if a == b {
        return true;
    }
    let plain = |header: &HeaderMatcher| !header.invert && !header.treat_missing_as_empty;
    if a.name != b.name || !plain(a) || !plain(b) {
        return false;
    }
    match (&a.test, &b.test) {
        (HeaderTest::String(a), HeaderTest::String(b)) => includes(a, b, true),
        (HeaderTest::String(_) | HeaderTest::Range { .. }, HeaderTest::Present(true)) => true,
        _ => false,
    }
}

fn value_implies(a: &ValueMatcher, b: &ValueMatcher) -> bool {
    match (a, b) {
        _ if a == b => true,
        (ValueMatcher::Or(all), _) => all.iter().all(|a| value_implies(a, b)),
        (_, ValueMatcher::Or(any)) => any.iter().any(|b| value_implies(a, b)),
        (ValueMatcher::String(a), ValueMatcher::String(b)) => includes(a, b, false),
        (ValueMatcher::ListOneOf(a), ValueMatcher::ListOneOf(b)) => value_implies(a, b),
        _ => false,
    }
}

/// Whether some path is like this after normalization: it starts with a slash, has no query, and of what normalization takes away or
/// writes otherwise it holds nothing.
fn is_possible_path(matcher: &StringMatcher, paths: PathNormalization) -> bool {
    let (text, is_start, is_end) = match &matcher.pattern {
        StringPattern::Exact(text) => (text, true, true),
        StringPattern::Prefix(text) => (text, true, false),
        StringPattern::Suffix(text) => (text, false, true),
        StringPattern::Contains(text) => (text, false, false),
        StringPattern::Regex(_) => return true,
    };
    let is_anything = text.is_empty() && !is_end;
    if is_start && !is_anything && !text.starts_with('/') {
        return false;
    }
    // A space, a control or a byte beyond ASCII is answered with 400; a query or a fragment is no part of the path.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
    {
        return false;
    }
    if paths == PathNormalization::None {
        return true;
    }
    let rewritten = text.bytes().any(|byte| b"\"<>^`{|}\\".contains(&byte));
    let segments: Vec<&str> = text.split('/').collect();
    let last = segments.len().saturating_sub(1);
    // The first and the last piece may be parts of longer segments.
    let is_whole = |index: usize| (index > 0) && (index < last || is_end);
    let dots = segments
        .iter()
        .enumerate()
        .any(|(index, segment)| is_whole(index) && matches!(*segment, "." | ".."));
    let merged = matches!(
        paths,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
    );
    let doubled = merged && text.contains("//");
    // A whole path must be left as it is: `%7E` comes as `~`, and `..;` as the segment above.
    let is_changed = is_start
        && is_end
        && !matcher.ignore_case
        && path::normalize(text, normalization(paths)).map_or(true, |left| left != text.as_str());
    !(rewritten || dots || doubled || is_changed)
}
