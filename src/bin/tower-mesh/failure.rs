//! Why a command gives up.

use std::fmt;
use std::io;

use tower_mesh::istio::Problems;

/// Why a command gives up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Configuration(Problems),
    /// The question is wrong.
    Question(String),
    /// Input or output does not work.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => problems.fmt(f),
            Self::Question(message) => write!(f, "error: {message}"),
            Self::Io(error) => write!(f, "error: {error}"),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Configuration(problems)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
