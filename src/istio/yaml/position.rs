//! Positions in files, and texts that keep theirs.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Where something was written: file, line and column, both counted from 1.
///
/// Line 0 means that only the file is known, and so does the largest, which sorts behind all
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Position {
    /// The file's path as it was given, or the name that the caller gave to a text.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Position {
    /// A position in a file.
    #[must_use]
    pub fn new(file: Arc<str>, line: u32, column: u32) -> Self {
        Self { file, line, column }
    }
}

impl fmt::Display for Position {
    /// `FILE:LINE:COL`, or `FILE` when no more is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 || self.line == u32::MAX {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A string of a resource, with the place it was written at. Compares by its text alone.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    at: Position,
}

impl Text {
    /// A text that was written at `at`.
    #[must_use]
    pub fn new(text: impl Into<String>, at: Position) -> Self {
        Self {
            text: text.into(),
            at,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it was written.
    #[must_use]
    pub fn at(&self) -> &Position {
        &self.at
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Text {}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text, Position::default())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The resource that something is part of. All are equal: whose a rule is does not change what it
/// says.
#[derive(Clone, Debug, Default)]
pub struct Within(Option<Arc<str>>);

impl Within {
    /// Part of the resource of this kind, namespace and name.
    #[must_use]
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self(Some(format!("{kind}/{namespace}/{name}").into()))
    }

    /// `KIND/NAMESPACE/NAME`; `None` for what was not read from a resource.
    #[must_use]
    pub fn resource(&self) -> Option<&Arc<str>> {
        self.0.as_ref()
    }
}

impl PartialEq for Within {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Within {}
