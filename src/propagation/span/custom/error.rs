use std::error::Error;
use std::fmt;

/// Why a [`CustomTag`](super::tag::CustomTag) cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomTagError(String);

impl CustomTagError {
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
