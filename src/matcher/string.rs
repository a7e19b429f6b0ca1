use regex::bytes::Regex;

/// `envoy.type.matcher.v3.StringMatcher`: a test of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatcher {
    /// What the text is compared with.
    pub pattern: StringPattern,
    /// Compare ASCII letters without case; never set together with a regex.
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Clone, Debug)]
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
    Regex(Regex),
}

impl PartialEq for StringPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b))
            | (Self::Prefix(a), Self::Prefix(b))
            | (Self::Suffix(a), Self::Suffix(b))
            | (Self::Contains(a), Self::Contains(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Eq for StringPattern {}
