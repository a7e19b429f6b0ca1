//! Finds a record in a folder, and the checkpoint that signs it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::inclusion_proof::InclusionProof;
use crate::audit::proof::{Checkpoint, Frontier, Path, genesis, record_hash};
use crate::audit::record::Entry;
use crate::audit::scalar::Hash;
use crate::audit::store::{Name, Part};
use crate::audit::verify::{Walk, by_stream};

/// Proves that a record is in the trail in a folder.
///
/// It reads the stream once, up to the first checkpoint after the record, in memory that does not
/// depend on its length. It follows the chain and compares the checkpoint with the records; the
/// signature is verified by who gets the proof.
///
/// # Example
/// ```
/// use tower_mesh::audit::{InclusionProof, Prove, PublicKeys};
/// # use std::time::Duration;
/// # use tower_mesh::audit::{Audit, SigningKey, Trail};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let base = tempfile::tempdir()?;
/// # let folder = base.path().join("trail");
/// # let key = SigningKey::create_file("patients", base.path().join("audit.pem"))?;
/// # let keys = PublicKeys::from_iter([key.public()]);
/// # let audit = Audit::builder().trail(Trail::folder(&folder).signer(key)).start()?;
/// # assert!(audit.shutdown(Duration::from_secs(60)));
/// # let name = std::fs::read_dir(&folder)?.map(|file| file.unwrap().file_name());
/// # let name = name.filter_map(|name| name.into_string().ok()).find(|name| name.ends_with("jsonl"));
/// # let stream = name.unwrap().split('-').nth(1).unwrap().to_owned();
/// let proof = Prove::new(&folder).record(&stream, 1)?.to_string();
///
/// // Elsewhere, without the trail:
/// let proof: InclusionProof = proof.parse()?;
/// proof.verify(&keys)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Prove {
    folder: PathBuf,
}

/// Why there is no proof.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProveError {
    /// A file could not be read.
    Io(PathBuf, io::Error),
    /// The trail has no such stream.
    NoStream,
    /// The stream has no such record, or it was removed.
    NoRecord,
    /// No checkpoint signs the record, or not yet.
    Unsigned,
    /// The stream is not whole before that: the file and the line.
    Broken(String, u64),
}

impl Prove {
    /// Of the trail in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Proves that this record is in it.
    ///
    /// # Errors
    /// There is no such record, no checkpoint signs it, the stream is not whole up to that checkpoint,
    /// or a file cannot be read.
    pub fn record(&self, stream: &str, seq: u64) -> Result<InclusionProof, ProveError> {
        let streams = by_stream(&self.folder).map_err(|error| self.failed(error))?;
        let is_it = |names: &&Vec<Name>| {
            let mut names = names.iter();
            names.any(|name| name.stream == stream && name.part != Part::Prune)
        };
        let names = streams.iter().find(is_it).ok_or(ProveError::NoStream)?;
        let index = seq.checked_sub(1).ok_or(ProveError::NoRecord)?;
        let mut path = Path::after(&Frontier::default(), index);
        let (mut head, mut record) = (genesis(stream), Vec::new());
        let mut walk = Walk::new(&self.folder, names);
        while let Some(spot) = walk.next().map_err(|error| self.failed(error))? {
            let line = spot.line;
            let broken = || {
                let name = names.get(spot.file).map(Name::to_string);
                ProveError::Broken(name.unwrap_or_default(), line.number)
            };
            let entry = match Entry::parse(line.bytes) {
                Ok(entry) if line.is_ended => entry,
                // What a crash has left, or what is written right now.
                _ if !line.is_ended => break,
                _ => return Err(broken()),
            };
            if entry.seq() > path.size() + 1 && path.size() < seq {
                let Some((tree, last)) = self.removed(&streams, &entry)? else {
                    return Err(broken());
                };
                if tree.size() >= seq {
                    return Err(ProveError::NoRecord);
                }
                (path, head) = (Path::after(&tree, index), last);
            }
            let follows =
                entry.seq() == path.size() + 1 && *entry.prev() == head && entry.stream() == stream;
            if !follows {
                return Err(broken());
            }
            if path.size() >= seq && entry.kind() == "checkpoint" {
                let note = entry.text("note").unwrap_or_default();
                let checkpoint = Checkpoint::parse(&note).map_err(|_| broken())?;
                let size = path.size();
                let (root, proof) = path.finish();
                let is_about = checkpoint.size() == size
                    && *checkpoint.root() == root
                    && *checkpoint.head() == head;
                if !is_about {
                    return Err(broken());
                }
                return InclusionProof::new(&record, checkpoint, proof).map_err(|_| broken());
            }
            if entry.seq() == seq {
                record = line.bytes.to_vec();
            }
            head = record_hash(line.bytes);
            path.push(line.bytes);
        }
        Err(match path.size() < seq {
            true => ProveError::NoRecord,
            false => ProveError::Unsigned,
        })
    }

    /// The tree and the head of the records before this one, which were removed. What a false record
    /// says of them does not fit the checkpoint.
    fn removed(
        &self,
        streams: &[Vec<Name>],
        entry: &Entry<'_>,
    ) -> Result<Option<(Frontier, Hash)>, ProveError> {
        let is_prune = |names: &&Vec<Name>| names.iter().any(|name| name.part == Part::Prune);
        for names in streams.iter().filter(is_prune) {
            let mut walk = Walk::new(&self.folder, names);
            while let Some(spot) = walk.next().map_err(|error| self.failed(error))? {
                let told = Entry::parse(spot.line.bytes).ok();
                let removed = told.and_then(|told| told.removed());
                if let Some(removed) = removed
                    && removed.old.stream == entry.stream()
                    && removed.old.size.checked_add(1) == Some(entry.seq())
                    && let Some(tree) = Frontier::from_parts(removed.old.size, removed.peaks)
                {
                    return Ok(Some((tree, removed.old.head)));
                }
            }
        }
        Ok(None)
    }

    fn failed(&self, error: io::Error) -> ProveError {
        ProveError::Io(self.folder.clone(), error)
    }
}

impl fmt::Display for ProveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(folder, _) => {
                write!(f, "the audit trail in {} cannot be read", folder.display())
            }
            Self::NoStream => f.write_str("the trail has no such stream"),
            Self::NoRecord => f.write_str("the stream has no such record, or it was removed"),
            Self::Unsigned => f.write_str(
                "no checkpoint signs the record yet; there is one each minute and at the end of the process",
            ),
            Self::Broken(file, line) => write!(
                f,
                "{file}:{line}: the stream is not whole here, so nothing can be proved of it; \
                 `audit verify` says what is wrong"
            ),
        }
    }
}

impl std::error::Error for ProveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::NoStream | Self::NoRecord | Self::Unsigned | Self::Broken(..) => None,
        }
    }
}
