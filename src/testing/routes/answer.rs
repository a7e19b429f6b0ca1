//! What answered a request in place of a guard.

use std::fmt;

use http::StatusCode;

/// What a request was answered with that a guard had to refuse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Answer {
    /// No guard refused the request: it met none, or one whose policies do not deny all.
    NotRefused(StatusCode),
    /// A guard refused the request, and something around the guard answered in its place.
    Replaced(StatusCode),
    /// The service failed with this error.
    Failed(String),
    /// The service panicked.
    Panicked,
    /// No answer came within half a minute.
    Silent,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRefused(status) => write!(f, "{}, not from a guard", status.as_u16()),
            Self::Replaced(status) => {
                write!(f, "{} in place of a guard's refusal", status.as_u16())
            }
            Self::Failed(error) => write!(f, "error: {error}"),
            Self::Panicked => f.write_str("a panic"),
            Self::Silent => f.write_str("no answer"),
        }
    }
}
