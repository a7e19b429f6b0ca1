use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use crate::tls::identity::error::IdentityError;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::Reason;

/// Where our identity comes from, and its successors.
///
/// The first call of [`next`](Self::next) yields the identity there is; each later call waits for another. An error concerns one attempt only:
/// whoever reads the source keeps what it has and calls again. A source sets its own pace and never fails twice without a pause between; one
/// that cannot reach what it asks fails in time, as nobody else sees that it waits in vain.
pub trait Source: Send {
    /// The next identity. May be dropped and called again without losing one.
    fn next(&mut self) -> NextIdentity<'_>;

    /// The last identity was not put to use, as it breaks a rule: for a source that would else be content with it. Does nothing by default.
    fn refused(&mut self) {}
}

/// The future of [`Source::next`].
pub type NextIdentity<'a> =
    Pin<Box<dyn Future<Output = Result<Identity, SourceError>> + Send + 'a>>;

impl<S: Source + ?Sized> Source for Box<S> {
    fn next(&mut self) -> NextIdentity<'_> {
        (**self).next()
    }

    fn refused(&mut self) {
        (**self).refused();
    }
}

/// A source of one identity that never changes.
#[derive(Debug)]
pub struct Fixed(Option<Identity>);

impl Fixed {
    /// A source of this identity.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self(Some(identity))
    }
}

impl Source for Fixed {
    fn next(&mut self) -> NextIdentity<'_> {
        match self.0.take() {
            Some(identity) => Box::pin(async { Ok(identity) }),
            None => Box::pin(pending()),
        }
    }
}

/// Why a source has no identity to give.
#[derive(Debug)]
pub struct SourceError {
    file: Option<PathBuf>,
    failure: Failure,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
enum Failure {
    Identity(IdentityError),
    Io(io::Error),
    Other(String, Option<Cause>),
    Rule(&'static str),
    Withdrawn,
    Panicked,
}

impl SourceError {
    pub(in crate::tls) fn io(file: &Path, error: io::Error) -> Self {
        Self {
            file: Some(file.to_owned()),
            failure: Failure::Io(error),
        }
    }

    pub(in crate::tls) fn rule(file: &Path, rule: &'static str) -> Self {
        Self {
            file: Some(file.to_owned()),
            failure: Failure::Rule(rule),
        }
    }

    /// An error in words, for sources of other kinds. The words must hold nothing of a key.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Failure::Other(text.into(), None).into()
    }

    /// As [`new`](Self::new), with the error behind it, which is its `source()`: the words need not repeat
    /// what that one says. Neither may hold anything of a key.
    #[must_use]
    pub fn caused_by(
        text: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Failure::Other(text.into(), Some(cause.into())).into()
    }

    /// Whoever issued our identity has none for us any more: unlike any other error, this ends the use of the one we hold.
    #[must_use]
    pub fn withdrawn() -> Self {
        Failure::Withdrawn.into()
    }

    /// Whether it is [`withdrawn`](Self::withdrawn).
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        matches!(self.failure, Failure::Withdrawn)
    }

    pub(in crate::tls) fn panicked() -> Self {
        Failure::Panicked.into()
    }

    pub(in crate::tls) fn is_panic(&self) -> bool {
        matches!(self.failure, Failure::Panicked)
    }

    /// Which rule the identity breaks; `None` when it could not even be had.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.identity().map(IdentityError::reason)
    }

    /// What is wrong with the identity; `None` when it could not even be had.
    #[must_use]
    pub fn identity(&self) -> Option<&IdentityError> {
        match &self.failure {
            Failure::Identity(error) => Some(error),
            Failure::Io(_)
            | Failure::Other(..)
            | Failure::Rule(_)
            | Failure::Withdrawn
            | Failure::Panicked => None,
        }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        Self {
            file: None,
            failure,
        }
    }
}

impl From<IdentityError> for SourceError {
    fn from(error: IdentityError) -> Self {
        Failure::Identity(error).into()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        match &self.failure {
            // Its own words, not a level above them.
            Failure::Identity(error) => error.fmt(f),
            Failure::Io(_) => f.write_str("the file cannot be read"),
            Failure::Other(text, _) => f.write_str(text),
            Failure::Rule(rule) => f.write_str(rule),
            Failure::Withdrawn => f.write_str("the identity was withdrawn"),
            Failure::Panicked => f.write_str("the source panicked"),
        }
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            Failure::Io(error) => Some(error),
            Failure::Identity(error) => error.source(),
            Failure::Other(_, Some(cause)) => Some(&**cause),
            Failure::Other(_, None) | Failure::Rule(_) | Failure::Withdrawn | Failure::Panicked => {
                None
            }
        }
    }
}
