//! Tests one text, as Envoy's `StringMatcher` does.

use super::{RegexError, SafeRegex};

/// `envoy.type.matcher.v3.StringMatcher`: a test of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatcher {
    /// What the text is compared with.
    pub pattern: StringPattern,
    /// Ignores the case of ASCII letters; never set together with a regex.
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringPattern {
    /// The text equals this one, byte for byte.
    Exact(String),
    /// The text starts with this one.
    Prefix(String),
    /// The text ends with this one.
    Suffix(String),
    /// The text contains this one.
    Contains(String),
    /// An RE2 pattern on bytes matches the whole text.
    Regex(SafeRegex),
}

impl StringMatcher {
    /// Matches the same bytes; the text may be empty.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Exact(text.into()))
    }

    /// Matches texts that start with this one.
    #[must_use]
    pub fn prefix(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Prefix(text.into()))
    }

    /// Matches texts that end with this one.
    #[must_use]
    pub fn suffix(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Suffix(text.into()))
    }

    /// Matches texts that contain this one.
    #[must_use]
    pub fn contains(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Contains(text.into()))
    }

    /// Matches texts that the regular expression matches from start to end; see [`SafeRegex`].
    ///
    /// # Errors
    /// When the pattern is not a regular expression, or is too large.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        SafeRegex::new(pattern).map(Self::from)
    }

    /// A value as Istio writes it: `*` is any text but the empty one, `*x` a suffix, `x*` a prefix,
    /// and anything else the text itself.
    pub(crate) fn of_value(value: &str) -> Self {
        if value == "*" {
            Self::non_empty()
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::suffix(suffix)
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::prefix(prefix)
        } else {
            Self::exact(value)
        }
    }

    /// Istio's test for "present": at least one byte, and no line feed (`.+`).
    #[must_use]
    pub fn non_empty() -> Self {
        SafeRegex::non_empty().into()
    }

    /// The same test, ignoring the case of ASCII letters. A regex is unchanged, because Envoy
    /// refuses the combination.
    #[must_use]
    pub fn ignoring_case(mut self) -> Self {
        self.ignore_case = !matches!(self.pattern, StringPattern::Regex(_));
        self
    }

    /// Whether the text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let is_same = |part: &[u8], wanted: &str| match self.ignore_case {
            false => part == wanted.as_bytes(),
            true => part.eq_ignore_ascii_case(wanted.as_bytes()),
        };
        match &self.pattern {
            StringPattern::Exact(exact) => is_same(text, exact),
            StringPattern::Prefix(prefix) => {
                let head = text.get(..prefix.len());
                head.is_some_and(|head| is_same(head, prefix))
            }
            StringPattern::Suffix(suffix) => {
                let start = text.len().checked_sub(suffix.len());
                let tail = start.and_then(|start| text.get(start..));
                tail.is_some_and(|tail| is_same(tail, suffix))
            }
            StringPattern::Contains(part) => {
                part.is_empty() || text.windows(part.len()).any(|window| is_same(window, part))
            }
            StringPattern::Regex(regex) => regex.matches(text),
        }
    }

    fn new(pattern: StringPattern) -> Self {
        Self {
            pattern,
            ignore_case: false,
        }
    }
}

impl From<SafeRegex> for StringMatcher {
    fn from(regex: SafeRegex) -> Self {
        Self::new(StringPattern::Regex(regex))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The StringMatcher table of `config.rbac.v3`.
    #[test]
    fn each_pattern_tests_what_envoy_tests() {
        let regex = |pattern| StringMatcher::regex(pattern).unwrap();
        for (matcher, text, expected) in [
            (StringMatcher::exact(""), "", true),
            (StringMatcher::exact("a"), "a", true),
            (StringMatcher::exact("a"), "A", false),
            (StringMatcher::exact("a").ignoring_case(), "A", true),
            (StringMatcher::exact("é").ignoring_case(), "É", false),
            (StringMatcher::prefix("ab"), "ab", true),
            (StringMatcher::prefix("ab"), "a", false),
            (StringMatcher::prefix("aB").ignoring_case(), "AbC", true),
            (StringMatcher::suffix("bc"), "abc", true),
            (StringMatcher::suffix("abc"), "bc", false),
            (StringMatcher::suffix("BC").ignoring_case(), "abc", true),
            (StringMatcher::contains("b"), "abc", true),
            (StringMatcher::contains("B"), "abc", false),
            (StringMatcher::contains("B").ignoring_case(), "abc", true),
            (regex("a|ab"), "ab", true),
            (regex("b"), "abc", false),
            (regex("a.c"), "a\nc", false),
            (StringMatcher::non_empty(), "x", true),
            (StringMatcher::non_empty(), "", false),
            (StringMatcher::non_empty(), "a\nb", false),
        ] {
            assert_eq!(
                matcher.matches(text.as_bytes()),
                expected,
                "{matcher:?} on {text:?}"
            );
        }
    }

    /// B-12: no byte keeps a regular expression from having an answer, which a negation would turn
    /// around.
    #[test]
    fn a_regex_sees_bytes_and_not_characters() {
        for byte in (0x20..=0x7e).chain(0x80..=0xff) {
            for (pattern, expected) in [(".+", true), (".", true), ("a.*", byte == b'a')] {
                let regex = StringMatcher::regex(pattern).unwrap();
                assert_eq!(regex.matches(&[byte]), expected, "{pattern} {byte:#x}");
            }
        }
        let two = StringMatcher::regex("..").unwrap();
        assert!(two.matches("é".as_bytes()));
        assert!(two.matches(b"\xff\xfe"));
    }
}
