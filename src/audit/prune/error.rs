//! Why nothing was removed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::proof::SignError;
use crate::audit::store::OpenError;
use crate::audit::verify::Fault;

/// Why nothing was removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum PruneError {
    /// The time is less than six years ago.
    Young,
    /// There are no keys to verify the checkpoints with.
    NoKeys,
    /// The trail is not whole, or the signer is not one of the keys.
    NotWhole(Fault),
    /// Another process prunes the trail.
    Lock(OpenError),
    /// What was to be removed could not be signed.
    Sign(SignError),
    /// A file could not be read, written or removed.
    Io(PathBuf, io::Error),
    /// The system gave no random bytes.
    Random,
}

impl fmt::Display for PruneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young => f.write_str("records are kept for six years; name a time before that"),
            Self::NoKeys => f.write_str(
                "without public keys no checkpoint can be verified; name a file with them",
            ),
            Self::NotWhole(fault) => write!(f, "a trail that is not whole is not pruned: {fault}"),
            Self::Lock(_) => {
                f.write_str("the trail cannot be locked; another process may be pruning it")
            }
            Self::Sign(_) => f.write_str("the record of what is removed cannot be signed"),
            Self::Io(folder, _) => {
                write!(f, "pruning the trail in {} has failed", folder.display())
            }
            Self::Random => f.write_str("the system gave no random bytes"),
        }
    }
}

impl std::error::Error for PruneError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Sign(error) => Some(error),
            Self::Io(_, error) => Some(error),
            Self::Young | Self::NoKeys | Self::NotWhole(_) | Self::Random => None,
        }
    }
}
