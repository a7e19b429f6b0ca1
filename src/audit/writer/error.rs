//! What can go wrong.

use std::fmt;

use crate::audit::proof::KeyFileError;
use crate::audit::store::{OpenError, SealingError};

/// Why the audit could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// There is no trail.
    NoTrail,
    /// A folder could not be opened.
    Open(OpenError),
    /// A folder could not be written; the word says why.
    Write(&'static str),
    /// The thread of a trail could not be started.
    Thread(std::io::Error),
    /// The system gave no random bytes for the id of a stream.
    Random,
    /// The file of the sealing key could not be read or replaced.
    Seal(KeyFileError),
    /// Another trail uses the sealing key.
    SealInUse(OpenError),
    /// A sink has a second place, and would get its checkpoints itself.
    SecondPlace,
}

/// A record could not be made durable in any trail in time, so what it is about must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditUnavailable(pub(super) ());

impl From<SealingError> for StartError {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Key(error) => Self::Seal(error),
            SealingError::Lock(error) => Self::SealInUse(error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrail => f.write_str("the audit has no trail; give it one with `trail`"),
            Self::Open(_) => f.write_str("the folder of the audit trail cannot be opened"),
            Self::Write(word) => {
                write!(
                    f,
                    "the first record of the audit trail cannot be written: {word}"
                )
            }
            Self::Thread(_) => f.write_str("the thread of the audit trail cannot be started"),
            Self::Random => f.write_str("the system gave no random bytes"),
            Self::Seal(_) => f.write_str("the sealing key of the audit trail cannot be used"),
            Self::SealInUse(_) => {
                f.write_str("another trail uses the sealing key; each trail needs one of its own")
            }
            Self::SecondPlace => f.write_str(
                "the trail of a sink has a second place; leave out `second_place`, the sink gets its checkpoints itself",
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) | Self::SealInUse(error) => Some(error),
            Self::Seal(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::NoTrail | Self::Write(_) | Self::Random | Self::SecondPlace => None,
        }
    }
}

impl fmt::Display for AuditUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("audit_unavailable")
    }
}

impl std::error::Error for AuditUnavailable {}
