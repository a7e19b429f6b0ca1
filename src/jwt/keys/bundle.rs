//! One version of a trust domain's bundle: the keys of its JWT-SVIDs, and how new they are.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::key_set::{KeySet, KeySetError};
use crate::policy::{KeyPurpose, KeySetFault, SpiffeBundle};

/// The keys of a trust domain's JWT-SVIDs, as one version of its bundle has them.
pub(super) struct Bundle {
    /// Empty where the domain is revoked, or signs no JWT-SVIDs.
    pub(super) keys: KeySet,
    pub(super) sequence: Option<u64>,
    pub(super) refresh_hint: Option<Duration>,
}

impl Bundle {
    /// Reads a version that comes after one of the sequence `held`.
    ///
    /// A bundle without keys, or with roots of certificates alone, is good: its domain is revoked,
    /// or signs no JWT-SVIDs. Any other one without a usable key is refused (rule J-46).
    pub(super) fn read(text: &str, held: Option<u64>) -> Result<Self, BundleFault> {
        let bundle = SpiffeBundle::read(text).map_err(KeySetError)?;
        if let (Some(sequence), Some(held)) = (bundle.sequence, held)
            && sequence < held
        {
            return Err(BundleFault::Older { sequence, held });
        }
        let keys = KeySet::from_list(&bundle.keys, KeyPurpose::Svids);
        if keys.is_empty() && !bundle.keys.iter().all(is_root) {
            return Err(KeySetError(KeySetFault::NoUsableKey).into());
        }
        Ok(Self {
            keys,
            // A version without a sequence does not open the door to older ones.
            sequence: bundle.sequence.or(held),
            refresh_hint: bundle.refresh_hint.map(Duration::from_secs),
        })
    }
}

fn is_root(key: &Value) -> bool {
    key.get("use").is_some_and(|word| word == "x509-svid")
}

/// Why a version of a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BundleFault {
    KeySet(KeySetError),
    /// It is older than the one in use.
    Older {
        sequence: u64,
        held: u64,
    },
}

impl From<KeySetError> for BundleFault {
    fn from(error: KeySetError) -> Self {
        Self::KeySet(error)
    }
}

impl fmt::Display for BundleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeySet(error) => error.fmt(f),
            Self::Older { sequence, held } => write!(
                f,
                "it is older than the one in use: `spiffe_sequence` {sequence} after {held}"
            ),
        }
    }
}
