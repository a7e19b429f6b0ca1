//! The trait of a source of identities, its error, and a source that never changes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use crate::identity::TrustDomain;
use crate::tls::identity::error::IdentityError;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::Reason;

/// Where our identity and its successors come from.
///
/// The first call of [`next`](Self::next) returns the current identity; each later call waits for
/// another. An error concerns one attempt only: the caller keeps its identity and calls again. A
/// source sets its own pace and pauses between failures. A source that cannot reach its origin must
/// fail in time, because the caller cannot see that it waits in vain.
pub trait Source: Send {
    /// The next identity. May be dropped and called again without losing one.
    fn next(&mut self) -> NextIdentity<'_>;

    /// A source of the keys of JWT-SVIDs that comes with this source; none by default. A mesh asks
    /// for it at the start, and uses it once a token rule needs those keys.
    fn jwt_bundles(&self) -> Option<Box<dyn JwtBundleSource>> {
        None
    }

    /// The last identity was not used because it breaks a rule. For sources that would otherwise be
    /// content with it. Does nothing by default.
    fn refused(&mut self) {}
}

/// The future of [`Source::next`].
pub type NextIdentity<'a> =
    Pin<Box<dyn Future<Output = Result<Identity, SourceError>> + Send + 'a>>;

impl<S: Source + ?Sized> Source for Box<S> {
    fn next(&mut self) -> NextIdentity<'_> {
        (**self).next()
    }

    fn jwt_bundles(&self) -> Option<Box<dyn JwtBundleSource>> {
        (**self).jwt_bundles()
    }

    fn refused(&mut self) {
        (**self).refused();
    }
}

/// The bundles of trust domains with the keys of their JWT-SVIDs, each a JWK set (SPIFFE Trust
/// Domain and Bundle §4) whose keys have `use: jwt-svid`.
pub type JwtBundles = BTreeMap<TrustDomain, String>;

/// Where the keys of JWT-SVIDs come from.
///
/// The first call of [`next`](Self::next) returns the current bundles; each later call waits for
/// others. An error concerns one attempt only: the keys in use stay, and the caller calls again,
/// unless the error says that they were [withdrawn](SourceError::withdrawn). A source sets its own
/// pace and pauses between failures.
pub trait JwtBundleSource: Send {
    /// The next bundles, of all domains. May be dropped and called again without losing any.
    fn next(&mut self) -> NextJwtBundles<'_>;
}

/// The future of [`JwtBundleSource::next`].
pub type NextJwtBundles<'a> =
    Pin<Box<dyn Future<Output = Result<JwtBundles, SourceError>> + Send + 'a>>;

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

errors! {
    #[derive(Debug)]
    enum Failure {
        // The error itself, without a level above it.
        Identity(error: IdentityError) = "{error}",
        Io(_error: io::Error) = "the file cannot be read",
        Other(text: String, _cause: Option<Cause>) = "{text}",
        Rule(rule: &'static str) = "{rule}",
        Withdrawn = "the identity was withdrawn",
        Panicked = "the source panicked",
    }
}

impl SourceError {
    pub(super) fn io(file: &Path, error: io::Error) -> Self {
        Self::in_file(file, Failure::Io(error))
    }

    pub(super) fn rule(file: &Path, rule: &'static str) -> Self {
        Self::in_file(file, Failure::Rule(rule))
    }

    fn in_file(file: &Path, failure: Failure) -> Self {
        Self {
            file: Some(file.to_owned()),
            failure,
        }
    }

    /// An error in words, for other kinds of source. The words must not contain anything of a key.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Failure::Other(text.into(), None).into()
    }

    /// As [`new`](Self::new), with the error that caused it, which becomes its `source()`. The
    /// words need not repeat that error. Neither may contain anything of a key.
    #[must_use]
    pub fn caused_by(text: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Failure::Other(text.into(), Some(cause.into())).into()
    }

    /// The issuer no longer has an identity for us. Unlike any other error, this ends the use of
    /// the current one.
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

    /// The rule that the identity breaks; `None` when there was no identity.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.identity().map(IdentityError::reason)
    }

    /// What is wrong with the identity; `None` when there was no identity.
    #[must_use]
    pub fn identity(&self) -> Option<&IdentityError> {
        match &self.failure {
            Failure::Identity(error) => Some(error),
            _ => None,
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
        self.failure.fmt(f)
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            Failure::Io(error) => Some(error),
            Failure::Identity(error) => error.source(),
            Failure::Other(_, Some(cause)) => Some(&**cause),
            _ => None,
        }
    }
}
