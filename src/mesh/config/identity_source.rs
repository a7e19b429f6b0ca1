//! Where a mesh gets its own identity from.

use std::fmt;

use crate::tls::{Credentials, Identity, JwtBundleSource, Source};

/// Where a mesh gets its own identity from: an [`Identity`] that never changes, a [`Source`] that
/// the driver follows, or [`Credentials`] that the application replaces itself.
#[derive(Debug)]
pub struct IdentitySource(pub(in crate::mesh) Origin);

pub(in crate::mesh) enum Origin {
    Fixed(Identity),
    /// The driver replaces the identity with what the source yields.
    Followed(Box<dyn Source>),
    /// The application replaces the identity in them.
    Shared(Credentials),
}

impl Origin {
    /// The source of keys for JWT-SVIDs that comes with the identity.
    pub(in crate::mesh) fn jwt_bundles(&self) -> Option<Box<dyn JwtBundleSource>> {
        match self {
            Self::Followed(source) => source.jwt_bundles(),
            Self::Fixed(_) | Self::Shared(_) => None,
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(identity) => f.debug_tuple("Fixed").field(identity).finish(),
            Self::Followed(_) => f.write_str("Followed"),
            Self::Shared(credentials) => f.debug_tuple("Shared").field(credentials).finish(),
        }
    }
}

impl<S: Source + 'static> From<S> for IdentitySource {
    fn from(source: S) -> Self {
        Self(Origin::Followed(Box::new(source)))
    }
}

impl From<Identity> for IdentitySource {
    fn from(identity: Identity) -> Self {
        Self(Origin::Fixed(identity))
    }
}

impl From<Credentials> for IdentitySource {
    fn from(credentials: Credentials) -> Self {
        Self(Origin::Shared(credentials))
    }
}
