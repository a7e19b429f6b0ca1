//! Regular expressions on whole texts, as Envoy's `safe_regex`.

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// A regular expression on bytes that must match the whole text (Envoy's `safe_regex`, RE2 in
/// Latin-1 mode): `.` is any byte except `\n`.
///
/// Istio's resources mostly compile to literals around `.*` and `.+`. Those are matched without a
/// regex engine, so that ten thousand of them take little more memory than their text. Clones share
/// the compiled pattern.
#[derive(Clone)]
pub struct SafeRegex(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    program: Program,
}

enum Program {
    /// One of these wildcard patterns.
    Globs(Box<[Glob]>),
    /// Any other pattern.
    Regex(Regex),
}

impl SafeRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When the pattern is not a regular expression, or would need more than 10 MB.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let program = match globs(pattern) {
            Some(globs) => Program::Globs(globs.into()),
            None => RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
                .unicode(false)
                .build()
                .map(Program::Regex)
                .map_err(|error| RegexError(error.to_string()))?,
        };
        Ok(Self::from_program(pattern, program))
    }

    /// The pattern `.+`.
    #[must_use]
    pub fn non_empty() -> Self {
        Self::from_program(".+", Program::Globs([Glob::non_empty()].into()))
    }

    /// The pattern as written, without anchors.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// Whether the pattern matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0.program {
            Program::Globs(globs) => {
                !text.contains(&b'\n') && globs.iter().any(|glob| glob.matches(text))
            }
            Program::Regex(regex) => regex.is_match(text),
        }
    }
}

impl SafeRegex {
    fn from_program(source: &str, program: Program) -> Self {
        let source = source.into();
        Self(Arc::new(Compiled { source, program }))
    }

    /// The wildcard patterns that this pattern consists of; `None` if it contains anything else.
    /// They do not match a text that contains `\n`.
    pub(crate) fn as_globs(&self) -> Option<&[Glob]> {
        match &self.0.program {
            Program::Globs(globs) => Some(globs),
            Program::Regex(_) => None,
        }
    }
}

impl PartialEq for SafeRegex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SafeRegex {}

impl fmt::Debug for SafeRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeRegex({})", self.as_str())
    }
}

/// The error for a text that is not a usable regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a usable regular expression: {}", self.0)
    }
}

impl std::error::Error for RegexError {}

/// Literals with runs of any bytes between them; `.*` and `.+` are runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glob {
    /// The start of the text, before the first run.
    pub(crate) head: Vec<u8>,
    /// For each run, its least length and the literal after it. The last literal ends the text. If
    /// this is empty, the head is the whole text.
    pub(crate) rest: Vec<(usize, Vec<u8>)>,
}

impl Glob {
    fn non_empty() -> Self {
        Self {
            head: Vec::new(),
            rest: vec![(1, Vec::new())],
        }
    }

    /// Whether the text matches; the caller has checked that it holds no `\n`. Each literal is
    /// taken at its earliest position, which is best because every run may be arbitrarily long.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let Some(mut text) = text.strip_prefix(self.head.as_slice()) else {
            return false;
        };
        let Some((last, middle)) = self.rest.split_last() else {
            return text.is_empty();
        };
        for (least, literal) in middle {
            let Some(after_run) = text.get(*least..) else {
                return false;
            };
            let Some(after) = after_first(after_run, literal) else {
                return false;
            };
            text = after;
        }
        let (least, tail) = last;
        text.len() >= least + tail.len() && text.ends_with(tail)
    }

    /// The literal of `.*literal.*`.
    pub(crate) fn as_inside(&self) -> Option<&[u8]> {
        match self.rest.as_slice() {
            [(0, inside), (0, end)] if self.head.is_empty() && end.is_empty() => Some(inside),
            _ => None,
        }
    }

    fn push(&mut self, byte: u8) {
        match self.rest.last_mut() {
            Some((_, literal)) => literal.push(byte),
            None => self.head.push(byte),
        }
    }

    fn run(&mut self, least: usize) {
        match self.rest.last_mut() {
            Some((so_far, literal)) if literal.is_empty() => *so_far += least,
            _ => self.rest.push((least, Vec::new())),
        }
    }

    fn append(&mut self, other: &Self) {
        for byte in &other.head {
            self.push(*byte);
        }
        for (least, literal) in &other.rest {
            self.run(*least);
            for byte in literal {
                self.push(*byte);
            }
        }
    }
}

/// Whether the text contains a literal.
pub(crate) fn contains(text: &[u8], literal: &[u8]) -> bool {
    after_first(text, literal).is_some()
}

/// The text after the first occurrence of a literal.
fn after_first<'a>(text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    let Some((first, others)) = literal.split_first() else {
        return Some(text);
    };
    let mut rest = text;
    loop {
        let at = rest.iter().position(|byte| byte == first)?;
        rest = rest.get(at + 1..)?;
        if let Some(after) = rest.strip_prefix(others) {
            return Some(after);
        }
    }
}

/// Parses a pattern of literals, escaped punctuation, `.*`, `.+`, and `(A|B)` and `(A)?` without
/// nesting; `None` if it contains anything else.
fn globs(pattern: &str) -> Option<Vec<Glob>> {
    let mut rest = pattern.as_bytes();
    let mut alternatives = vec![Glob::default()];
    while let Some((first, after)) = rest.split_first() {
        if *first != b'(' {
            rest = atom(rest, &mut alternatives)?;
            continue;
        }
        let end = after.iter().position(|byte| *byte == b')')?;
        let (inside, after) = (after.get(..end)?, after.get(end + 1..)?);
        let mut choices = Vec::new();
        for choice in inside.split(|byte| *byte == b'|') {
            let mut one = [Glob::default()];
            let mut text = choice;
            while !text.is_empty() {
                text = atom(text, &mut one)?;
            }
            choices.extend(one);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(b"?") {
            choices.push(Glob::default());
            rest = after;
        }
        alternatives = product(&alternatives, &choices)?;
    }
    Some(alternatives)
}

fn product(left: &[Glob], right: &[Glob]) -> Option<Vec<Glob>> {
    if left.len() * right.len() > MOST_ALTERNATIVES {
        return None;
    }
    let pairs = left
        .iter()
        .flat_map(|start| right.iter().map(move |end| (start, end)));
    let joined = pairs.map(|(start, end)| {
        let mut glob = start.clone();
        glob.append(end);
        glob
    });
    Some(joined.collect())
}

/// Reads one literal byte or one run, adds it to every glob, and returns the rest.
fn atom<'a>(text: &'a [u8], globs: &mut [Glob]) -> Option<&'a [u8]> {
    let (least, literal, after) = match text {
        [b'.', b'*', after @ ..] => (Some(0), 0, after),
        [b'.', b'+', after @ ..] => (Some(1), 0, after),
        [b'\\', byte, after @ ..] if byte.is_ascii_punctuation() => (None, *byte, after),
        [byte, after @ ..] if !is_meta(*byte) => (None, *byte, after),
        _ => return None,
    };
    // This parser does not handle repetitions of what was just read, nor lazy runs.
    if matches!(after.first(), Some(b'*' | b'+' | b'?' | b'{')) {
        return None;
    }
    for glob in globs {
        match least {
            Some(least) => glob.run(least),
            None => glob.push(literal),
        }
    }
    Some(after)
}

/// Bytes with a meaning in regular expressions, and the line feed, which no run may cross.
fn is_meta(byte: u8) -> bool {
    b".*+?()[]{}|^$\\\n".contains(&byte)
}

const MOST_ALTERNATIVES: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn engine(pattern: &str) -> Regex {
        RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .unicode(false)
            .build()
            .unwrap()
    }

    fn is_plain(pattern: &str) -> bool {
        matches!(
            SafeRegex::new(pattern).unwrap().0.program,
            Program::Globs(_)
        )
    }

    #[test]
    fn what_istio_emits_needs_no_engine() {
        for pattern in [
            ".+",
            ".*/ns/foo/.*",
            ".*/ns/f.*o/.*",
            r"spiffe://.*\.x-y",
            "spiffe://.+/ns/foo/(.+/|)sa/bar(/.+)?",
            r".*/ns/a\-b/.*",
        ] {
            assert!(is_plain(pattern), "{pattern}");
        }
        for pattern in ["a|b", "[^/]*", "a?", "a.b", ".*?", r"\d", "^a", "(a|(b))"] {
            assert!(!is_plain(pattern), "{pattern}");
        }
        assert!(SafeRegex::new("(").is_err());
    }

    proptest! {
        #[test]
        fn globs_agree_with_the_engine(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b", "/", ".*", ".+", r"\.", "ab", "(a|b)", "(.+/|)", "(/.+)?", "(a)?", r"\*",
                ]),
                0..7,
            ),
            texts in prop::collection::vec("[ab/.*\n]{0,9}", 8),
        ) {
            let pattern = parts.concat();
            let regex = SafeRegex::new(&pattern).unwrap();
            let engine = engine(&pattern);
            for text in texts {
                prop_assert_eq!(regex.matches(text.as_bytes()), engine.is_match(text.as_bytes()), "{} on {:?}", pattern, text);
            }
        }
    }
}
