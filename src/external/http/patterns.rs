//! Lists of header names, as Istio writes them.

/// A list of header names: exact names, prefixes (`x-*`) and suffixes (`*-id`), in any case.
///
/// ```
/// use tower_mesh::external::HeaderPatterns;
///
/// let patterns = HeaderPatterns::new(["x-user", "x-auth-*", "*-id"]);
/// for name in ["x-user", "X-Auth-Role", "x-session-id"] {
///     assert!(patterns.matches(name));
/// }
/// assert!(!patterns.matches("x-users"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderPatterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl HeaderPatterns {
    /// A list of patterns. A single `*`, and a `*` in the middle of a text, match no header.
    #[must_use]
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        let patterns = patterns.into_iter();
        Self(patterns.map(|text| Pattern::new(text.as_ref())).collect())
    }

    /// Whether the list has no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pattern matches this name, in any case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.0.iter().any(|pattern| pattern.matches(&name))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(suffix), _) if !suffix.is_empty() => Self::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            _ => Self::Exact(text),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => name.ends_with(suffix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_prefixes_and_suffixes_match_in_any_case() {
        for (pattern, name, expected) in [
            ("x-user", "x-user", true),
            ("X-User", "x-user", true),
            ("x-user", "X-USER", true),
            ("x-user", "x-users", false),
            ("x-*", "x-user", true),
            ("x-*", "x-", true),
            ("x-*", "ax-user", false),
            ("*-id", "session-id", true),
            ("*-ID", "session-id", true),
            ("*-id", "-id", true),
            ("*-id", "session-idx", false),
            ("*", "x-user", false),
            ("", "x-user", false),
            ("x*r", "x-user", false),
        ] {
            assert_eq!(
                HeaderPatterns::new([pattern]).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
        assert!(!HeaderPatterns::default().matches("x-user"));
    }
}
