//! Why a trail was not pruned.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::proof::SignError;
use crate::audit::store::OpenError;
use crate::audit::verify::Fault;

/// Why a trail was not pruned. Nothing was removed, except with [`Partly`](Self::Partly).
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
    /// After so many segments were removed, this one could not be. What is removed is told, and the next
    /// run removes the rest.
    Partly(usize, PathBuf, io::Error),
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
            Self::Lock(OpenError::InUse(folder)) => write!(
                f,
                "another process prunes the trail in {}; prune again when it has ended",
                folder.display()
            ),
            Self::Lock(_) => f.write_str("the trail cannot be locked"),
            Self::Sign(_) => f.write_str("the record of what is removed cannot be signed"),
            Self::Io(folder, _) => {
                write!(f, "pruning the trail in {} has failed", folder.display())
            }
            Self::Partly(removed, path, _) => write!(
                f,
                "the segment {} cannot be removed, and {removed} others were; all of them are told \
                 as removed: make it removable and prune again",
                path.display()
            ),
            Self::Random => f.write_str("the system gave no random bytes"),
        }
    }
}

impl std::error::Error for PruneError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // It speaks of a process that writes.
            Self::Lock(OpenError::InUse(_)) => None,
            Self::Lock(error) => Some(error),
            Self::Sign(error) => Some(error),
            Self::Io(_, error) | Self::Partly(_, _, error) => Some(error),
            Self::Young | Self::NoKeys | Self::NotWhole(_) | Self::Random => None,
        }
    }
}
