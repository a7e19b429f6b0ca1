use super::{RegexError, SafeRegex};

/// `envoy.type.matcher.v3.StringMatcher`: a test of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatcher {
    /// What the text is compared with.
    pub pattern: StringPattern,
    /// Compare ASCII letters without case; never set together with a regex.
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringPattern {
    /// The same bytes.
    Exact(String),
    /// Starts so.
    Prefix(String),
    /// Ends so.
    Suffix(String),
    /// Holds it somewhere.
    Contains(String),
    /// RE2 on bytes; the whole text.
    Regex(SafeRegex),
}

impl StringMatcher {
    /// Matches the same bytes; may be empty.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Exact(text.into()))
    }

    /// Matches what starts so.
    #[must_use]
    pub fn prefix(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Prefix(text.into()))
    }

    /// Matches what ends so.
    #[must_use]
    pub fn suffix(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Suffix(text.into()))
    }

    /// Matches what holds it somewhere.
    #[must_use]
    pub fn contains(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Contains(text.into()))
    }

    /// Matches what the regular expression covers from start to end; see [`SafeRegex`].
    ///
    /// # Errors
    /// When the pattern is no regular expression, or too large a one.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        SafeRegex::new(pattern).map(Self::from)
    }

    /// The test of "present": one byte or more, none of them a line feed (`.+`).
    #[must_use]
    pub fn non_empty() -> Self {
        SafeRegex::non_empty().into()
    }

    /// The same test without regard to the case of ASCII letters. A regex stays as it is: Envoy
    /// refuses the combination.
    #[must_use]
    pub fn ignoring_case(mut self) -> Self {
        self.ignore_case = !matches!(self.pattern, StringPattern::Regex(_));
        self
    }

    /// Whether the text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match (&self.pattern, self.ignore_case) {
            (StringPattern::Exact(exact), false) => text == exact.as_bytes(),
            (StringPattern::Exact(exact), true) => text.eq_ignore_ascii_case(exact.as_bytes()),
            (StringPattern::Prefix(prefix), false) => text.starts_with(prefix.as_bytes()),
            (StringPattern::Prefix(prefix), true) => text
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes())),
            (StringPattern::Suffix(suffix), false) => text.ends_with(suffix.as_bytes()),
            (StringPattern::Suffix(suffix), true) => text
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| text.get(start..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix.as_bytes())),
            (StringPattern::Contains(part), ignore_case) => contains(text, part, ignore_case),
            (StringPattern::Regex(regex), _) => regex.matches(text),
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

fn contains(text: &[u8], part: &str, ignore_case: bool) -> bool {
    let part = part.as_bytes();
    if part.is_empty() {
        return true;
    }
    text.windows(part.len()).any(|window| {
        if ignore_case {
            window.eq_ignore_ascii_case(part)
        } else {
            window == part
        }
    })
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

    #[test]
    fn a_regex_sees_bytes_and_not_characters() {
        let two = StringMatcher::regex("..").unwrap();
        assert!(two.matches("é".as_bytes()));
        assert!(two.matches(b"\xff\xfe"));
    }
}
