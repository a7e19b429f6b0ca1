//! A problem with its place and field, and a list of them.

use std::fmt;
use std::sync::Arc;

use crate::istio::{OneLine, Position};

/// One thing that is wrong with a configuration: where, in which field, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it was written.
    pub at: Position,
    /// The field's path (`spec.rules[0].to[0].operation.paths[1]`); empty when no field is to
    /// blame.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Whether what was meant can be read all the same.
    pub kind: ProblemKind,
}

/// Whether a [`Problem`] leaves the configuration readable, for tools that look at all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It does not.
    #[default]
    Unreadable,
    /// A value is in a word processor's quotation marks.
    TypographicQuotes,
    /// A resource is written a second time.
    Duplicate,
    /// Two PeerAuthentications, or two Policies of 2018, cover the same, and nothing says which is
    /// the older.
    Ageless,
}

impl Problem {
    /// A problem with a field.
    #[must_use]
    pub fn new(at: Position, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            at,
            field: field.into(),
            message: message.into(),
            kind: ProblemKind::Unreadable,
        }
    }

    /// A problem with a whole file.
    pub(crate) fn of_file(file: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Self::new(Position::new(file.into(), 0, 0), "", message)
    }

    /// The same problem, of another kind.
    #[must_use]
    pub(crate) fn of_kind(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COL: FIELD: message`, in one line: what would end or colour it is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", OneLine(&self.at))?;
        if !self.field.is_empty() {
            write!(f, "{}: ", OneLine(&self.field))?;
        }
        write!(f, "{}", OneLine(&self.message))
    }
}

/// Everything that is wrong with a configuration, sorted by place; never empty. Prints one problem
/// a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Collects problems, each once; `None` when there are none.
    #[must_use]
    pub fn from_list(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|a, b| a.at.cmp(&b.at));
        problems.dedup();
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, sorted by place.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
