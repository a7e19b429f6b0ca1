use std::error::Error;
use std::fmt;

/// Why a [`CustomTag`](super::tag::CustomTag) cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomTagError(String);

impl CustomTagError {
    /// The text of a tag's format cannot be used.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for resources of a mesh")
    )]
    pub(crate) fn of_format(tag: &str, error: &dyn Error) -> Self {
        Self(format!(
            "the text of the tag `{tag}` cannot be used: {error}"
        ))
    }

    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for CustomTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for CustomTagError {}
