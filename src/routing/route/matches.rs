//! What a route matches, as data.

use crate::matcher::{SafeRegex, StringMatcher};

/// What a call must be for a route to take it: all of these hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// Headers, sorted by name, then method, authority and scheme, as Istio prints them.
    pub headers: Vec<HeaderMatch>,
    /// Parameters of the query, sorted by name.
    pub query: Vec<QueryMatch>,
    /// Claims of the caller's token.
    pub claims: Vec<ClaimMatch>,
}

impl RouteMatch {
    /// Matches every call.
    #[must_use]
    pub fn all() -> Self {
        Self {
            path: PathMatch::Prefix {
                prefix: "/".to_owned(),
                ignore_case: false,
            },
            headers: Vec::new(),
            query: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// Whether it matches every call by Istio's rule, so that routes after it are left out: the
    /// prefix `/` or the regex `.*`, and nothing else.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        let any_path = match &self.path {
            PathMatch::Prefix { prefix, .. } | PathMatch::Segments { prefix, .. } => prefix == "/",
            PathMatch::Regex { regex, .. } => regex.as_str() == ".*",
            PathMatch::Exact { .. } => false,
        };
        any_path && self.headers.is_empty() && self.query.is_empty() && self.claims.is_empty()
    }

    /// How specific it is.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let has_method = |test: &HeaderMatch| test.subject == Subject::Method;
        let methods = self.headers.iter().filter(|test| has_method(test)).count();
        Summary {
            path: self.path.summary(),
            has_method: methods > 0,
            headers: self.headers.len() - methods,
            query: self.query.len(),
        }
    }
}

/// The test of the path, without the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact {
        /// The path.
        path: String,
        /// Whether case does not count.
        ignore_case: bool,
    },
    /// What the path starts with, byte by byte: `/pre` takes `/prefix`.
    Prefix {
        /// The prefix.
        prefix: String,
        /// Whether case does not count.
        ignore_case: bool,
    },
    /// Whole segments that the path starts with: `/pre` takes `/pre` and `/pre/x`, not `/prefix`.
    Segments {
        /// The prefix, which does not end with `/`.
        prefix: String,
        /// Whether case does not count.
        ignore_case: bool,
    },
    /// A regular expression of the whole path. Case always counts.
    Regex {
        /// The expression.
        regex: SafeRegex,
        /// Whether `ignoreUriCase` is set, which changes nothing.
        ignore_case: bool,
    },
}

impl PathMatch {
    /// Whether a path, without its query, matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let is_same = |part: &[u8], wanted: &str, ignore_case: bool| match ignore_case {
            false => part == wanted.as_bytes(),
            true => part.eq_ignore_ascii_case(wanted.as_bytes()),
        };
        let bytes = path.as_bytes();
        match self {
            Self::Exact { path, ignore_case } => is_same(bytes, path, *ignore_case),
            Self::Prefix {
                prefix,
                ignore_case,
            } => {
                let head = bytes.get(..prefix.len());
                head.is_some_and(|head| is_same(head, prefix, *ignore_case))
            }
            Self::Segments {
                prefix,
                ignore_case,
            } => {
                let parts = bytes.split_at_checked(prefix.len());
                parts.is_some_and(|(head, rest)| {
                    matches!(rest.first(), None | Some(b'/')) && is_same(head, prefix, *ignore_case)
                })
            }
            Self::Regex { regex, .. } => regex.matches(bytes),
        }
    }

    /// The length of the part of a matching path that a rewrite replaces: the prefix, or all.
    #[must_use]
    pub fn matched_length(&self, path: &str) -> usize {
        match self {
            Self::Prefix { prefix, .. } | Self::Segments { prefix, .. } => prefix.len(),
            Self::Exact { .. } | Self::Regex { .. } => path.len(),
        }
    }

    /// Whether case does not count, as far as it could.
    #[must_use]
    pub fn ignores_case(&self) -> bool {
        match self {
            Self::Exact { ignore_case, .. }
            | Self::Prefix { ignore_case, .. }
            | Self::Segments { ignore_case, .. }
            | Self::Regex { ignore_case, .. } => *ignore_case,
        }
    }

    fn summary(&self) -> PathSummary {
        match self {
            Self::Exact { path, .. } => PathSummary::Exact(path.len()),
            Self::Prefix { prefix, .. } | Self::Segments { prefix, .. } => {
                PathSummary::Prefix(prefix.len())
            }
            Self::Regex { regex, .. } => PathSummary::Regex(regex.as_str().len()),
        }
    }
}

/// How specific a match is, by the Gateway API's order: the greater is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Summary {
    /// The path's.
    pub path: PathSummary,
    /// Whether the method counts.
    pub has_method: bool,
    /// How many headers count, beside the method.
    pub headers: usize,
    /// How many parameters of the query count.
    pub query: usize,
}

/// The path's part of a [`Summary`], with the length of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSummary {
    /// A regular expression.
    Regex(usize),
    /// A prefix, of text or of segments.
    Prefix(usize),
    /// The whole path.
    Exact(usize),
}

/// The test of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Whose value is tested.
    pub subject: Subject,
    /// The test.
    pub test: HeaderTest,
    /// Whether no line may pass the test, in place of one that must.
    pub invert: bool,
    /// Whether a missing header is tested as one with an empty value.
    pub missing_is_empty: bool,
}

/// Whose value a [`HeaderMatch`] tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A header.
    Header {
        /// In lower case.
        name: String,
        /// As it was written.
        written: String,
    },
    /// `:method`.
    Method,
    /// `:authority`, with its port.
    Authority,
    /// `:scheme`.
    Scheme,
}

impl Subject {
    /// The header of this name.
    #[must_use]
    pub fn header(written: &str) -> Self {
        match written.to_ascii_lowercase() {
            name if name == ":method" => Self::Method,
            name if name == ":authority" || name == "host" => Self::Authority,
            name if name == ":scheme" => Self::Scheme,
            name => Self::Header {
                name,
                written: written.to_owned(),
            },
        }
    }

    /// Its name, as it was written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Header { written, .. } => written,
            Self::Method => ":method",
            Self::Authority => ":authority",
            Self::Scheme => ":scheme",
        }
    }
}

/// The test of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderTest {
    /// It is there, if only empty.
    Present,
    /// Its text passes.
    Text(StringMatcher),
}

/// The test of a parameter of the query: of its first value, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    /// The name; case counts.
    pub name: String,
    /// The test.
    pub test: HeaderTest,
}

/// The test of a claim: one of its texts must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMatch {
    /// The keys that lead to it.
    pub keys: Vec<String>,
    /// The test.
    pub test: HeaderTest,
    /// Whether none may pass.
    pub invert: bool,
}
