//! Rewrites of paths.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::matches::PathMatch;

/// What a path is replaced by. The query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The part that matched: the prefix, byte by byte, or the whole path.
    Matched(String),
    /// All matches of a regular expression in the path.
    Regex(RegexSubstitution),
}

impl PathRewrite {
    /// The path, without its query, of a call that `matches` has matched.
    #[must_use]
    pub fn apply(&self, matches: &PathMatch, path: &str) -> String {
        match self {
            Self::Matched(to) => {
                let rest = path.get(matches.matched_length(path)..);
                format!("{to}{}", rest.unwrap_or_default())
            }
            Self::Regex(substitution) => substitution.apply(path),
        }
    }
}

/// A regular expression and what each of its matches is replaced by (RE2's `GlobalReplace`).
#[derive(Clone)]
pub struct RegexSubstitution {
    regex: Regex,
    pattern: String,
    substitution: String,
    pieces: Vec<Piece>,
}

#[derive(Clone)]
enum Piece {
    Text(String),
    Group(usize),
}

impl RegexSubstitution {
    /// `\0` to `\9` in the substitution are the match and its groups, and `\\` a backslash.
    ///
    /// # Errors
    /// When the pattern is no regular expression, and when the substitution names a group that it
    /// lacks or has any other backslash.
    pub fn new(pattern: &str, substitution: &str) -> Result<Self, RewriteError> {
        let regex = RegexBuilder::new(pattern).unicode(false).build();
        let regex = regex.map_err(|error| RewriteError(error.to_string()))?;
        let pieces = pieces(substitution, regex.captures_len())?;
        Ok(Self {
            regex,
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
            pieces,
        })
    }

    /// The pattern.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The substitution.
    #[must_use]
    pub fn substitution(&self) -> &str {
        &self.substitution
    }

    /// The path with all matches replaced.
    #[must_use]
    pub fn apply(&self, path: &str) -> String {
        let mut result = Vec::with_capacity(path.len());
        let mut end = 0;
        for found in self.regex.captures_iter(path.as_bytes()) {
            let Some(whole) = found.get(0) else { continue };
            let between = path.as_bytes().get(end..whole.start());
            result.extend_from_slice(between.unwrap_or_default());
            for piece in &self.pieces {
                match piece {
                    Piece::Text(text) => result.extend_from_slice(text.as_bytes()),
                    Piece::Group(group) => {
                        let group = found.get(*group).map(|group| group.as_bytes());
                        result.extend_from_slice(group.unwrap_or_default());
                    }
                }
            }
            end = whole.end();
        }
        result.extend_from_slice(path.as_bytes().get(end..).unwrap_or_default());
        String::from_utf8_lossy(&result).into_owned()
    }
}

fn pieces(substitution: &str, groups: usize) -> Result<Vec<Piece>, RewriteError> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = substitution.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            text.push(next);
            continue;
        }
        match rest.next() {
            Some('\\') => text.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = usize::from(u8::try_from(digit).unwrap_or_default() - b'0');
                if group >= groups {
                    let message = format!("the pattern has no group \\{group}");
                    return Err(RewriteError(message));
                }
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(group));
            }
            _ => {
                let message = "after a backslash comes a digit or a backslash";
                return Err(RewriteError(message.to_owned()));
            }
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

impl PartialEq for RegexSubstitution {
    fn eq(&self, other: &Self) -> bool {
        (&self.pattern, &self.substitution) == (&other.pattern, &other.substitution)
    }
}

impl Eq for RegexSubstitution {}

impl fmt::Debug for RegexSubstitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pattern,
            substitution,
            ..
        } = self;
        write!(f, "RegexSubstitution({pattern} -> {substitution})")
    }
}

/// The error for a rewrite that Envoy would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteError(String);

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a usable rewrite: {}", self.0)
    }
}

impl std::error::Error for RewriteError {}
