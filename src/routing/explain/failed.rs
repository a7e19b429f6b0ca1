use std::fmt;

use serde::Serialize;

use crate::matcher::{StringMatcher, StringPattern};
use crate::routing::route::{
    CallHead, ClaimMatch, HeaderMatch, HeaderTest, PathMatch, QueryMatch, RouteMatch, Subject, eval,
};

/// A test of a route that a call does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedMatch {
    /// The field, as a VirtualService names it: `uri`, `headers[x-user]`, `queryParams[v]`,
    /// `method`.
    pub field: String,
    /// Whether the value was forbidden (`withoutHeaders`) rather than asked for.
    pub negated: bool,
    /// The test: `exact: TEXT`, `prefix: TEXT`, `regex: PATTERN`, or `present`.
    pub expected: String,
    /// What the call had, several lines joined by ` | `; `None` when it had nothing.
    pub saw: Option<String>,
}

impl fmt::Display for FailedMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.negated { "is" } else { "is not" };
        write!(f, "{} {verb} {{{}}}: saw ", self.field, self.expected)?;
        match &self.saw {
            Some(saw) => write!(f, "{saw:?}"),
            None => f.write_str("nothing"),
        }
    }
}

/// The first test that a call does not pass, in the order in which they are made.
pub(super) fn first(matches: &RouteMatch, call: &dyn CallHead) -> Option<FailedMatch> {
    if !matches.path.matches(call.path()) {
        let saw = Some(call.path().to_owned());
        return Some(Asked::path(&matches.path).failed(saw));
    }
    let mut headers = matches.headers.iter();
    if let Some(test) = headers.find(|test| !eval::header_matches(test, call)) {
        return Some(Asked::header(test).failed(header_seen(&test.subject, call)));
    }
    let mut query = matches.query.iter();
    if let Some(test) = query.find(|test| !eval::query_matches(test, call)) {
        let saw = eval::query_value(&test.name, call);
        return Some(Asked::query(test).failed(saw.map(text)));
    }
    let mut claims = matches.claims.iter();
    let test = claims.find(|test| !eval::claim_matches(test, call))?;
    let mut saw = Vec::new();
    call.any_claim(&test.keys, &mut |value| {
        saw.push(value.to_owned());
        false
    });
    Some(Asked::claim(test).failed(joined(&saw)))
}

/// All that a route asks for, in the same order.
pub(super) fn asks(matches: &RouteMatch) -> Vec<String> {
    let path = std::iter::once(Asked::path(&matches.path));
    let headers = matches.headers.iter().map(Asked::header);
    let query = matches.query.iter().map(Asked::query);
    let claims = matches.claims.iter().map(Asked::claim);
    let all = path.chain(headers).chain(query).chain(claims);
    all.map(|asked| asked.to_string()).collect()
}

/// What one test asks for.
struct Asked {
    field: String,
    negated: bool,
    expected: String,
}

impl Asked {
    fn path(test: &PathMatch) -> Self {
        let expected = match test {
            PathMatch::Exact { path, .. } => format!("exact: {path}"),
            PathMatch::Prefix { prefix, .. } => format!("prefix: {prefix}"),
            PathMatch::Segments { prefix, .. } => format!("prefix of whole segments: {prefix}"),
            PathMatch::Regex { regex, .. } => format!("regex: {}", regex.as_str()),
        };
        // The case of a regular expression always counts.
        let ignores_case = test.ignores_case() && !matches!(test, PathMatch::Regex { .. });
        Self {
            field: "uri".to_owned(),
            negated: false,
            expected: in_any_case(expected, ignores_case),
        }
    }

    fn header(test: &HeaderMatch) -> Self {
        let without = if test.invert {
            "withoutHeaders"
        } else {
            "headers"
        };
        Self {
            field: match &test.subject {
                Subject::Header { written, .. } => format!("{without}[{written}]"),
                Subject::Method => "method".to_owned(),
                Subject::Authority => "authority".to_owned(),
                Subject::Scheme => "scheme".to_owned(),
            },
            negated: test.invert,
            expected: words(&test.test),
        }
    }

    fn query(test: &QueryMatch) -> Self {
        Self {
            field: format!("queryParams[{}]", test.name),
            negated: false,
            expected: words(&test.test),
        }
    }

    fn claim(test: &ClaimMatch) -> Self {
        let without = if test.invert {
            "withoutHeaders"
        } else {
            "headers"
        };
        Self {
            field: format!("{without}[@request.auth.claims[{}]]", test.keys.join("][")),
            negated: test.invert,
            expected: words(&test.test),
        }
    }

    fn failed(self, saw: Option<String>) -> FailedMatch {
        let Self {
            field,
            negated,
            expected,
        } = self;
        FailedMatch {
            field,
            negated,
            expected,
            saw,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.negated { "is not" } else { "is" };
        write!(f, "{} {verb} {{{}}}", self.field, self.expected)
    }
}

/// A test as a VirtualService writes it.
fn words(test: &HeaderTest) -> String {
    match test {
        HeaderTest::Present => "present".to_owned(),
        HeaderTest::Text(matcher) => in_any_case(pattern(matcher), matcher.ignore_case),
    }
}

fn pattern(matcher: &StringMatcher) -> String {
    match &matcher.pattern {
        StringPattern::Exact(text) => format!("exact: {text}"),
        StringPattern::Prefix(text) => format!("prefix: {text}"),
        StringPattern::Suffix(text) => format!("suffix: {text}"),
        StringPattern::Contains(text) => format!("contains: {text}"),
        StringPattern::Regex(regex) => format!("regex: {}", regex.as_str()),
    }
}

fn in_any_case(words: String, ignores_case: bool) -> String {
    match ignores_case {
        true => format!("{words}, in any case"),
        false => words,
    }
}

fn header_seen(subject: &Subject, call: &dyn CallHead) -> Option<String> {
    let mut lines = Vec::new();
    eval::any_value(subject, call, &mut |value| {
        lines.push(text(value));
        false
    });
    joined(&lines)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn joined(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| lines.join(" | "))
}
