//! What is wrong with a trail.

use std::fmt;

use serde::Serialize;

/// The first bad record of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) stream: String,
    pub(crate) seq: u64,
    /// Where several records may be bad, the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u64>,
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) what: String,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A record was changed.
    Edited,
    /// Records, or a whole stream, are not there; or were removed before their time.
    Missing,
    /// A record is not in its place.
    Reordered,
    /// A record is there twice, or a stream under two names.
    Duplicated,
    /// A record was put in between, or after the `stop`.
    Inserted,
    /// The end is not there.
    Truncated,
    /// A record of another stream is there, or a stream that does not follow the one right before it.
    Spliced,
    /// A stream has two continuations, or two checkpoints of one size about different records.
    Forked,
    /// A line is no record in the canonical form.
    NotCanonical,
    /// A checkpoint is signed with a key that is not known.
    UnknownKey,
    /// A checkpoint is signed with a key that was retired before it, or before what it signs.
    RetiredKey,
    /// The signature of a checkpoint does not hold.
    BadSignature,
    /// Records have no checkpoint: too many of them, or those at the end of a stream that is not the
    /// newest.
    Unsigned,
    /// The seal of a segment does not hold, or is not the one that comes next.
    BadSeal,
    /// A segment was closed without a seal, after others that have one.
    Unsealed,
}

impl Fault {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The number of the first bad record. Where only a range is known it is the first of that, and
    /// [`to`](Self::to) the last.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last record of the range in which the bad one is.
    #[must_use]
    pub fn to(&self) -> Option<u64> {
        self.to
    }

    /// The file, and the line in it, where the fault was seen.
    #[must_use]
    pub fn place(&self) -> (&str, u64) {
        (&self.file, self.line)
    }
}

impl FaultKind {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Inserted => "inserted",
            Self::Truncated => "truncated",
            Self::Spliced => "spliced",
            Self::Forked => "forked",
            Self::NotCanonical => "not canonical",
            Self::UnknownKey => "unknown key",
            Self::RetiredKey => "retired key",
            Self::BadSignature => "bad signature",
            Self::Unsigned => "unsigned",
            Self::BadSeal => "bad seal",
            Self::Unsealed => "unsealed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            stream,
            seq,
            to,
            file,
            line,
            what,
        } = self;
        write!(f, "{file}:{line}: stream {stream}, record {seq}")?;
        if let Some(to) = to {
            write!(f, " to {to}")?;
        }
        write!(f, ": {}: {what}", kind.as_str())
    }
}
