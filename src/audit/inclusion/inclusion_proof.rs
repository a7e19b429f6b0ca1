//! The proof by itself.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::audit::proof::{Checkpoint, PublicKeys, SignatureFault, leaf_hash, verify_inclusion};
use crate::audit::record::Entry;
use crate::audit::scalar::Hash;

/// A record of a trail, a signed checkpoint of its stream, and the proof of RFC 9162 that the record is
/// among those that the checkpoint signs.
///
/// It says nothing about other records, and is worth as much as the key. It is written as one line of
/// JSON with the fields `v` (1), `record` (the line of the trail), `checkpoint` (the note) and `proof`
/// (hashes in base64, the lowest of the tree first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    record: String,
    stream: String,
    seq: u64,
    checkpoint: Checkpoint,
    proof: Vec<Hash>,
}

/// Why a proof does not hold, or is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InclusionError {
    /// It has another form: what is wrong.
    Malformed(String),
    /// There are no keys to verify the signature with.
    NoKeys,
    /// No known key has signed the checkpoint.
    UnknownKey,
    /// The key was retired before the checkpoint, or before the record.
    RetiredKey,
    /// The signature of the checkpoint does not hold.
    BadSignature,
    /// The record is not among those that the checkpoint signs.
    NotIncluded,
}

impl InclusionProof {
    pub(super) fn new(
        record: &[u8],
        checkpoint: Checkpoint,
        proof: Vec<Hash>,
    ) -> Result<Self, InclusionError> {
        let malformed = |what: String| InclusionError::Malformed(what);
        let entry = Entry::parse(record)
            .map_err(|error| malformed(format!("its field `record` is no record: {error}")))?;
        Ok(Self {
            record: entry.as_str().to_owned(),
            stream: entry.stream().to_owned(),
            seq: entry.seq(),
            checkpoint,
            proof,
        })
    }

    /// Verifies the signature with these keys, and the proof.
    ///
    /// # Errors
    /// One of them does not hold, or there are no keys.
    pub fn verify(&self, keys: &PublicKeys) -> Result<(), InclusionError> {
        if keys.is_empty() {
            return Err(InclusionError::NoKeys);
        }
        let entry = Entry::parse(self.record.as_bytes())
            .map_err(|error| InclusionError::Malformed(error.to_string()))?;
        let judged = self.checkpoint.judge_after(keys, entry.time());
        judged.map_err(|fault| match fault {
            SignatureFault::UnknownKey => InclusionError::UnknownKey,
            SignatureFault::Retired => InclusionError::RetiredKey,
            SignatureFault::Bad => InclusionError::BadSignature,
        })?;
        let is_included = self.seq.checked_sub(1).is_some_and(|index| {
            let (size, root) = (self.checkpoint.size(), self.checkpoint.root());
            let leaf = leaf_hash(self.record.as_bytes());
            verify_inclusion(&leaf, index, size, &self.proof, root)
        });
        match is_included && self.checkpoint.stream() == self.stream {
            true => Ok(()),
            false => Err(InclusionError::NotIncluded),
        }
    }

    /// The record, as it is in the trail.
    #[must_use]
    pub fn record(&self) -> &str {
        &self.record
    }

    /// The id of its stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Its number in the stream.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The checkpoint that signs it.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// When the checkpoint was signed, by what it says itself: UTC, RFC 3339.
    #[must_use]
    pub fn signed_at(&self) -> String {
        self.checkpoint.time().to_string()
    }
}

/// One line of JSON, without a line break.
impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proof: Vec<_> = self
            .proof
            .iter()
            .map(|hash| BASE64_STANDARD.encode(hash))
            .collect();
        let value = json!({
            "checkpoint": self.checkpoint.to_string(),
            "proof": proof,
            "record": self.record,
            "v": 1,
        });
        write!(f, "{value}")
    }
}

/// Reads the form that is written; white space around it is left out.
impl FromStr for InclusionProof {
    type Err = InclusionError;

    fn from_str(text: &str) -> Result<Self, InclusionError> {
        let malformed = |what: &str| InclusionError::Malformed(what.to_owned());
        if text.len() > MOST_BYTES {
            return Err(malformed("it is longer than 64 KiB"));
        }
        let mut fields: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| InclusionError::Malformed(format!("it is no JSON object: {error}")))?;
        if fields.remove("v") != Some(json!(1)) {
            return Err(malformed("its field `v` is not 1"));
        }
        let mut take = |name: &str| {
            let wrong = format!("its field `{name}` is not there");
            fields.remove(name).ok_or(InclusionError::Malformed(wrong))
        };
        let (record, note, proof) = (take("record")?, take("checkpoint")?, take("proof")?);
        if let Some(name) = fields.keys().next() {
            let what = format!("it has a field `{name}`, which a proof has not");
            return Err(InclusionError::Malformed(what));
        }
        let (Value::String(record), Value::String(note), Value::Array(hashes)) =
            (record, note, proof)
        else {
            return Err(malformed(
                "`record` and `checkpoint` are texts, and `proof` is a list",
            ));
        };
        let checkpoint = Checkpoint::parse(&note).map_err(|error| malformed(&error.to_string()))?;
        let hash = |value: &Value| -> Option<Hash> {
            let bytes = BASE64_STANDARD.decode(value.as_str()?).ok()?;
            bytes.try_into().ok()
        };
        let proof = hashes.iter().map(hash).collect::<Option<Vec<_>>>();
        let proof = proof.ok_or_else(|| malformed("`proof` has something that is no hash"))?;
        Self::new(record.as_bytes(), checkpoint, proof)
    }
}

impl fmt::Display for InclusionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "no proof of a record: {what}"),
            Self::NoKeys => f.write_str("without a public key no signature can be verified"),
            Self::UnknownKey => f.write_str("no known key has signed the checkpoint"),
            Self::RetiredKey => {
                f.write_str("the key of the checkpoint was retired before it, or before the record")
            }
            Self::BadSignature => f.write_str("the signature of the checkpoint does not hold"),
            Self::NotIncluded => {
                f.write_str("the record is not among those that the checkpoint signs")
            }
        }
    }
}

impl std::error::Error for InclusionError {}

const MOST_BYTES: usize = 64 * 1024;
