//! The error of the test authority.

use std::fmt;

/// A certificate that could not be made.
#[derive(Debug)]
pub struct PkiError(Box<dyn std::error::Error + Send + Sync>);

impl PkiError {
    pub(super) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }

    pub(super) fn from_text(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate cannot be made")
    }
}

impl std::error::Error for PkiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
