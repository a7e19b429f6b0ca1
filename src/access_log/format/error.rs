//! Why a format is refused.

use std::error::Error;
use std::fmt;

/// Why a format of an access log cannot be used.
///
/// `Display` says what is wrong, at which byte of the format, and what to write in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    label: Option<Box<str>>,
    offset: usize,
    problem: String,
}

impl FormatError {
    pub(super) fn new(offset: usize, problem: impl Into<String>) -> Self {
        Self {
            label: None,
            offset,
            problem: problem.into(),
        }
    }

    pub(super) fn of_label(mut self, label: &str) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Where the mistake begins: bytes from the start of the format, or of the label's value.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The label whose value is wrong; `None` for the format of a text.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "label {label:?}: ")?;
        }
        write!(f, "at byte {}: {}", self.offset, self.problem)
    }
}

impl Error for FormatError {}
