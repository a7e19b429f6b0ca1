use std::error::Error;
use std::fmt;

use crate::istio::Problems;
use crate::tls::{IdentityError, SourceError};

/// Why a mesh could not be built. Everything that can be wrong at the start is found here.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
enum Kind {
    Configuration(Problems),
    Identity(IdentityError),
    NoIdentity,
    Option(String),
    Source(SourceError),
}

impl BuildError {
    pub(super) fn no_identity() -> Self {
        Self(Kind::NoIdentity)
    }

    pub(super) fn option(message: String) -> Self {
        Self(Kind::Option(message))
    }

    /// What is wrong with the configuration, when that is the reason.
    #[must_use]
    pub fn problems(&self) -> Option<&Problems> {
        match &self.0 {
            Kind::Configuration(problems) => Some(problems),
            Kind::Identity(_) | Kind::NoIdentity | Kind::Option(_) | Kind::Source(_) => None,
        }
    }

    /// What is wrong with our own identity, when that is the reason.
    #[must_use]
    pub fn identity(&self) -> Option<&IdentityError> {
        match &self.0 {
            Kind::Identity(error) => Some(error),
            Kind::Configuration(_) | Kind::NoIdentity | Kind::Option(_) | Kind::Source(_) => None,
        }
    }
}

impl From<Problems> for BuildError {
    fn from(problems: Problems) -> Self {
        Self(Kind::Configuration(problems))
    }
}

impl From<IdentityError> for BuildError {
    fn from(error: IdentityError) -> Self {
        Self(Kind::Identity(error))
    }
}

impl From<SourceError> for BuildError {
    fn from(error: SourceError) -> Self {
        Self(Kind::Source(error))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Configuration(problems) => write!(f, "the configuration is refused:\n{problems}"),
            Kind::Identity(error) => write!(f, "the identity is refused: {error}"),
            Kind::NoIdentity => f.write_str("a mesh needs an identity: call MeshBuilder::identity"),
            Kind::Option(message) => f.write_str(message),
            Kind::Source(error) => write!(f, "the identity cannot be had: {error}"),
        }
    }
}

impl Error for BuildError {}
