use std::fmt;

/// The error for a text that is not a usable rule, with the place in the text.
///
/// The message says what to change. It never repeats more of the text than one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CelError {
    offset: usize,
    line: usize,
    column: usize,
    message: String,
}

impl CelError {
    /// An error at a byte offset of the text. An offset past the end counts as the end, and one
    /// inside a character counts as its start.
    pub(super) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset = offset.saturating_sub(1);
        }
        let before = text.get(..offset).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        Self {
            offset,
            line,
            column: last.chars().count() + 1,
            message: message.into(),
        }
    }

    /// An error at a line and column that both count from one.
    pub(super) fn at_column(text: &str, line: usize, column: usize, message: String) -> Self {
        let mut lines = text.split_inclusive('\n');
        let before: usize = lines
            .by_ref()
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let chars = lines.next().unwrap_or_default().chars();
        let within = chars.take(column.saturating_sub(1)).map(char::len_utf8);
        let offset = before + within.sum::<usize>();
        Self::at(text, offset, message)
    }

    /// The byte offset in the text.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line in the text, from one.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in the line, in characters, from one.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong and what to change, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

impl std::error::Error for CelError {}

/// The reason why a rule gave neither true nor false for a request. The request is denied.
///
/// The texts name attributes, header names and types. They never contain a value from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvaluationError {
    /// The request has no such attribute, header or claim. The text is its name in the rule.
    Absent(String),
    /// The bytes of this header are not UTF-8. The text is its name in the rule.
    NotText(String),
    /// An operator or a function got a value of a type that it does not take. The text names the
    /// operation and the types.
    WrongType(String),
    /// The rule would need more work for this request than a rule may use, or reads a claim with
    /// too many values.
    TooMuchWork,
    /// A step failed in another way: a division by zero, an overflow, an index past the end.
    Failed(String),
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(name) => write!(f, "the request has no {name}"),
            Self::NotText(name) => write!(f, "{name} is not UTF-8"),
            Self::WrongType(what) | Self::Failed(what) => f.write_str(what),
            Self::TooMuchWork => f.write_str("the rule needs too much work for this request"),
        }
    }
}

impl std::error::Error for EvaluationError {}
