//! Where a part of an identity was read: the file, or the kind of text, and the line.

use std::fmt;
use std::path::PathBuf;

/// Where a part of an identity was read: the kind of text, or the file that held it, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextLocation {
    /// The name of the text's contents.
    pub(super) text: &'static str,
    /// The file that holds the text.
    pub(super) file: Option<PathBuf>,
    pub(super) line: Option<usize>,
}

impl TextLocation {
    /// In a text, named by its contents.
    pub(super) fn text(text: &'static str) -> Self {
        Self {
            text,
            file: None,
            line: None,
        }
    }

    pub(super) fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for TextLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}: line {line}", file.display()),
            (Some(file), None) => write!(f, "{}", file.display()),
            (None, Some(line)) => write!(f, "{}, line {line}", self.text),
            (None, None) => f.write_str(self.text),
        }
    }
}
