//! Checkpoints: signed notes about a stream up to a record.
//!
//! The form is that of C2SP (`signed-note`, `tlog-checkpoint`): origin, size and root, each in a line;
//! then the head of the chain and the time; an empty line; and a line for each signature.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::key::{SignError, Signer, public_key};
use super::low_s::{is_low_s, with_low_s};
use super::public_keys::{PublicKeys, SignatureFault, is_name, key_id};
use crate::audit::scalar::{Hash, Timestamp, hex_of, parse_hash, parse_timestamp};

/// A signed statement that a stream had so many records, with this root and this head.
///
/// Kept in a second place, it shows a tail that was cut off, which the chain alone cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    note: String,
    stream: String,
    size: u64,
    root: Hash,
    head: Hash,
    time: Timestamp,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

/// Why a text is no checkpoint, and in which of its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointError {
    /// From 1.
    line: u64,
    what: &'static str,
}

impl Checkpoint {
    pub(crate) fn sign(
        stream: &str,
        size: u64,
        root: &Hash,
        head: &Hash,
        time: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, SignError> {
        let root = BASE64_STANDARD.encode(root);
        let text = format!(
            "{ORIGIN}{stream}\n{size}\n{root}\n{}\n{time}\n",
            hex_of(head)
        );
        let signature = with_low_s(signer.sign(text.as_bytes())?);
        let name = signer.name();
        let mut bytes = key_id(name, signer.algorithm(), &signer.public_key()).to_vec();
        bytes.extend_from_slice(&signature);
        let note = format!("{text}\n— {name} {}\n", BASE64_STANDARD.encode(bytes));
        // What does not hold would make the trail one that does not, for ever.
        let keys = PublicKeys::from_iter([public_key(signer)]);
        match Self::parse(&note) {
            Ok(checkpoint) if is_name(name) && checkpoint.judge(&keys).is_ok() => Ok(note),
            Ok(_) if is_name(name) => Err(SignError::new(
                "the signature does not hold for the public key of the signer",
            )),
            _ => Err(SignError::new(
                "the name of the signer's key is empty, too long, or has spaces or '+'",
            )),
        }
    }

    /// Reads one note.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(note: &str) -> Result<Self, CheckpointError> {
        let wrong = |line, what| move || CheckpointError { line, what };
        let (first, _) = note.split_once('\n').unwrap_or((note, ""));
        let stream = first.strip_prefix(ORIGIN).ok_or_else(wrong(
            1,
            "its first line is not `tower-mesh/audit/` and a stream",
        ))?;
        if note.len() > MOST_BYTES {
            return Err(wrong(1, "it is longer than 8 KiB")());
        }
        if note.contains('\r') {
            return Err(wrong(1, "its lines end in CR LF, and must end in LF alone")());
        }
        let last = note.lines().count() as u64;
        let (text, signatures) = note
            .split_once("\n\n")
            .ok_or_else(wrong(last, "it has no empty line before its signatures"))?;
        let mut lines = text.split('\n').skip(1);
        let mut line = || lines.next().unwrap_or_default();
        let size = line();
        let size = size
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == size)
            .ok_or_else(wrong(2, "its size is no number"))?;
        let root = BASE64_STANDARD.decode(line()).ok();
        let root = root
            .and_then(|root| Hash::try_from(root).ok())
            .ok_or_else(wrong(3, "its root is no hash in base64"))?;
        let head =
            parse_hash(line()).ok_or_else(wrong(4, "its head is no hash in hexadecimal digits"))?;
        let time = parse_timestamp(line()).ok_or_else(wrong(5, "its time is no time in UTC"))?;
        if lines.next().is_some() {
            return Err(wrong(6, "it has more lines than a checkpoint has")());
        }
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or_else(wrong(last, "its last line has no end: it was cut off"))?
            .split('\n')
            .zip(7..)
            .map(|(signature, line)| {
                Signature::parse(signature)
                    .ok_or_else(wrong(line, "a signature has not the form `— name base64`"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            note: note.to_owned(),
            stream: stream.to_owned(),
            size,
            root,
            head,
            time,
            signatures,
        })
    }

    /// Reads notes that stand one after the other, with empty lines between them or none, as a second
    /// place keeps them.
    ///
    /// # Errors
    /// One of them has another form, or is cut off; the error names the line of the text.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, CheckpointError> {
        let mut notes = Vec::new();
        let mut note = String::new();
        // The lines before the note.
        let mut before = 0;
        let mut is_signed = false;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let is_signature = line.starts_with(SIGNATURE);
            if is_signed && !is_signature {
                notes.push(Self::parse_after(before, &note)?);
                note.clear();
                is_signed = false;
            }
            if note.is_empty() {
                before = index as u64;
            }
            if !note.is_empty() || line.trim() != "" {
                note.push_str(line);
            }
            is_signed |= is_signature;
        }
        if !note.is_empty() {
            notes.push(Self::parse_after(before, &note)?);
        }
        Ok(notes)
    }

    /// Reads a note that stands after so many other lines.
    fn parse_after(before: u64, note: &str) -> Result<Self, CheckpointError> {
        Self::parse(note).map_err(|error| CheckpointError {
            line: before + error.line,
            ..error
        })
    }

    /// The id of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// How many records the stream had.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over these records.
    #[must_use]
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// The hash of the last of these records.
    #[must_use]
    pub fn head(&self) -> &[u8; 32] {
        &self.head
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }

    /// Whether it is as the writer makes it: with one signature, in the one form that it has.
    pub(crate) fn is_as_signed(&self) -> bool {
        matches!(self.signatures.as_slice(), [one] if is_low_s(&one.bytes))
    }

    /// Judges the signatures: one of a known key must hold.
    pub(crate) fn judge(&self, keys: &PublicKeys) -> Result<(), SignatureFault> {
        self.judge_after(keys, self.time)
    }

    /// Also takes the latest time of the records that it signs: a retired key must not sign them,
    /// whatever time its owner has put into the note.
    pub(crate) fn judge_after(
        &self,
        keys: &PublicKeys,
        latest: Timestamp,
    ) -> Result<(), SignatureFault> {
        let time = self.time.max(latest);
        let end = self.note.find("\n\n").map_or(0, |end| end + 1);
        let text = self.note.get(..end).unwrap_or_default();
        let mut fault = SignatureFault::UnknownKey;
        for signature in &self.signatures {
            let Signature {
                name,
                key_id,
                bytes,
            } = signature;
            match keys.judge(name, *key_id, text.as_bytes(), bytes, time) {
                Ok(()) => return Ok(()),
                Err(SignatureFault::UnknownKey) => {}
                Err(worse) => fault = worse,
            }
        }
        Err(fault)
    }
}

/// The signed note.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let (key_id, bytes) = bytes.split_first_chunk()?;
        Some(Self {
            name: name.to_owned(),
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }
}

impl CheckpointError {
    /// What is wrong, without the line and the remedy.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, what } = self;
        write!(
            f,
            "line {line}: no checkpoint: {what}; take the notes anew from the second place, each as \
             it came, or take out the one that was cut off"
        )
    }
}

impl std::error::Error for CheckpointError {}

const ORIGIN: &str = "tower-mesh/audit/";
const SIGNATURE: &str = "— ";
const MOST_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests;
