use std::fmt;

use crate::istio::Problems;
use crate::source::{Configuration, Directory, Fixed, Watch};
use crate::tls::{Credentials, Identity, Source};

/// Where a mesh's configuration comes from: anything of [`source`](crate::source), fixed or watched.
#[derive(Debug)]
pub struct ConfigSource(pub(in crate::mesh) Feed);

#[derive(Debug)]
pub(in crate::mesh) enum Feed {
    Once(Result<Configuration, Problems>),
    Fixed(Fixed),
    Directory(Directory),
    Watch(Watch),
}

impl Feed {
    /// The first look, which always tells.
    pub(in crate::mesh) fn load(&mut self, namespace: &str) -> Result<Configuration, Problems> {
        match self {
            Self::Once(configuration) => configuration.clone(),
            Self::Fixed(fixed) => fixed.load(namespace),
            Self::Directory(directory) => directory.read(namespace),
            Self::Watch(watch) => watch
                .changed(namespace)
                .unwrap_or_else(|| Ok(Configuration::default())),
        }
    }

    /// What is looked at again, if anything.
    pub(in crate::mesh) fn into_watch(self) -> Option<Watch> {
        match self {
            Self::Watch(watch) => Some(watch),
            Self::Once(_) | Self::Fixed(_) | Self::Directory(_) => None,
        }
    }
}

impl From<Configuration> for ConfigSource {
    fn from(configuration: Configuration) -> Self {
        Self(Feed::Once(Ok(configuration)))
    }
}

impl From<Fixed> for ConfigSource {
    fn from(fixed: Fixed) -> Self {
        Self(Feed::Fixed(fixed))
    }
}

impl From<Directory> for ConfigSource {
    fn from(directory: Directory) -> Self {
        Self(Feed::Directory(directory))
    }
}

impl From<Watch> for ConfigSource {
    fn from(watch: Watch) -> Self {
        Self(Feed::Watch(watch))
    }
}

/// Where a mesh's own identity comes from: an [`Identity`] that stays, any [`Source`] that the driver then follows, or
/// [`Credentials`] that the application keeps fresh itself.
#[derive(Debug)]
pub struct IdentitySource(pub(in crate::mesh) Origin);

pub(in crate::mesh) enum Origin {
    Fixed(Identity),
    /// The driver replaces it with what the source yields.
    Followed(Box<dyn Source>),
    /// The application replaces what they hold.
    Shared(Credentials),
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
