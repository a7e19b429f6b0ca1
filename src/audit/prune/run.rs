//! Chooses segments, tells what is removed, and removes them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::ends::{End, ends};
use super::error::PruneError;
use crate::audit::proof::{Checkpoint, PublicKeys, Signer, only_for_owner};
use crate::audit::record::{Fields, Kind, OldStream, Own, Removed};
use crate::audit::scalar::Timestamp;
use crate::audit::store::{Name, Part, lock, segments, sync_folder};
use crate::audit::verify::{Fault, Pruned, Verify, VerifyReport, by_stream, signature_fault};
use crate::audit::writer::Stream;

/// Removes segments whose records are all older than a time. Nothing else ever removes a segment.
///
/// Only segments that a checkpoint signs as a whole are removed, from the beginning of each stream,
/// and only from a trail that is whole. What was removed is told by a `prune` record, in a small
/// stream of its own that is signed; with it the rest of the trail can be verified. The segment that
/// is being written is never removed, so a trail can be pruned while it is written.
#[derive(Debug)]
#[must_use]
pub struct Prune {
    folder: PathBuf,
    before: Timestamp,
    now: Timestamp,
    keys: PublicKeys,
    signer: Box<dyn Signer>,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// The segments that were removed, or would be.
    pub removed: Vec<String>,
    /// Segments that are old enough and stay, because no checkpoint signs all of their records.
    pub unsigned: Vec<String>,
}

impl Prune {
    /// Removes from the trail in this folder what is older than a time. The keys verify its
    /// checkpoints; the signer, which must be one of them, signs what is left in place of the
    /// segments.
    pub fn before(
        folder: impl Into<PathBuf>,
        time: SystemTime,
        keys: PublicKeys,
        signer: impl Signer + 'static,
    ) -> Self {
        Self {
            folder: folder.into(),
            before: time.into(),
            now: SystemTime::now().into(),
            keys,
            signer: Box::new(signer),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(mut self, now: SystemTime) -> Self {
        self.now = now.into();
        self
    }

    /// Removes them.
    ///
    /// # Errors
    /// The time is less than six years ago (45 CFR 164.316(b)(2)(i)); the trail is not whole; another
    /// process prunes it; the record could not be signed or written; or a file could not be read or
    /// removed. Segments are removed only when their record is durable.
    pub fn run(self) -> Result<PruneReport, PruneError> {
        self.judge_settings()?;
        let folder = self.folder.as_path();
        let failed = |error| PruneError::Io(folder.to_owned(), error);
        let _lock = lock(folder, "prune.lock").map_err(PruneError::Lock)?;
        // First, because a trail of which a part of what was told is gone may not be whole.
        let mut verified = self.verified()?;
        let left = self.left(&verified.1).map_err(failed)?;
        if !left.is_empty() {
            remove(folder, &left)?;
            verified = self.verified()?;
        }
        let (mut found, telling) = self.find(verified)?;
        if let Some(telling) = telling {
            self.tell(&telling)?;
            remove(folder, &found.removed)?;
        }
        found.removed.splice(..0, left);
        Ok(found)
    }

    /// Tells what [`run`](Self::run) would remove, and changes nothing: it writes no file, and takes no
    /// lock.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) that can be known before.
    pub fn dry_run(self) -> Result<PruneReport, PruneError> {
        self.judge_settings()?;
        let failed = |error| PruneError::Io(self.folder.clone(), error);
        let verified = self.verified()?;
        let left = self.left(&verified.1).map_err(failed)?;
        let (mut found, _) = self.find(verified)?;
        found.removed.splice(..0, left);
        Ok(found)
    }

    fn judge_settings(&self) -> Result<(), PruneError> {
        let kept = self.now.to_system() - KEPT;
        if self.before > Timestamp::from(kept) {
            return Err(PruneError::Young);
        }
        if self.keys.is_empty() {
            return Err(PruneError::NoKeys);
        }
        Ok(())
    }

    /// What is removed, and the segment that tells it if something is.
    fn find(
        &self,
        verified: (VerifyReport, Pruned),
    ) -> Result<(PruneReport, Option<Telling>), PruneError> {
        let pruned = whole(verified)?;
        let mut found = PruneReport::default();
        let failed = |error| PruneError::Io(self.folder.clone(), error);
        let removed = self.choose(&pruned, &mut found).map_err(failed)?;
        if removed.is_empty() {
            return Ok((found, None));
        }
        let telling = self.telling(&removed)?;
        Ok((found, Some(telling)))
    }

    fn verified(&self) -> Result<(VerifyReport, Pruned), PruneError> {
        let verified = Verify::new(&self.folder)
            .keys(self.keys.clone())
            .at(self.now.to_system())
            .run_with_pruned();
        verified.map_err(|error| PruneError::Io(self.folder.clone(), error))
    }

    /// The segments that a signed record says are removed, and that a crash has left.
    fn left(&self, pruned: &Pruned) -> io::Result<Vec<String>> {
        let mut names = segments(&self.folder)?;
        names.retain(|name| is_told(name, pruned));
        Ok(names.iter().map(Name::to_string).collect())
    }

    /// The segments to remove, of each stream from its beginning.
    fn choose(&self, pruned: &Pruned, found: &mut PruneReport) -> io::Result<Vec<Removed>> {
        let mut removed = Vec::new();
        let mut latest = Timestamp::default();
        let mut streams = by_stream(&self.folder)?;
        streams.retain(|names| names.iter().all(|name| name.part != Part::Prune));
        for names in &mut streams {
            names.retain(|name| !is_told(name, pruned));
        }
        let count = streams.len();
        for (index, names) in streams.iter().enumerate() {
            let (ends, signed) = ends(&self.folder, names, pruned, latest)?;
            latest = ends.last().map_or(latest, |end| end.latest);
            // The last segment of all may be the one that is written.
            let is_last = index + 1 == count;
            let closed = names.len() - usize::from(is_last);
            let old = ends
                .iter()
                .take(closed)
                .take_while(|end| end.latest < self.before);
            let old: Vec<&End> = old.collect();
            let is_signed = |end: &&&End| end.state.size <= signed;
            let chosen = old.iter().take_while(is_signed).count();
            let text = |end: &&End| end.name.clone();
            found.unsigned.extend(old.iter().skip(chosen).map(text));
            let Some((first, last)) = chosen
                .checked_sub(1)
                .and_then(|last| Some((old.first()?, old.get(last)?)))
            else {
                continue;
            };
            found.removed.extend(old.iter().take(chosen).map(text));
            removed.push(Removed {
                first: first.name.clone(),
                last: last.name.clone(),
                latest: Some(last.latest),
                follows: first.follows.clone(),
                segments: chosen as u64,
                old: OldStream {
                    stream: names
                        .first()
                        .map(|name| name.stream.clone())
                        .unwrap_or_default(),
                    size: last.state.size,
                    head: last.state.head,
                },
                peaks: last.state.peaks.clone(),
            });
        }
        Ok(removed)
    }

    /// A stream that says what is removed.
    fn telling(&self, removed: &[Removed]) -> Result<Telling, PruneError> {
        let failed = |error| PruneError::Io(self.folder.clone(), error);
        let id = Stream::random_id().ok_or(PruneError::Random)?;
        let mut stream = Stream::new(&id);
        let mut lines = Vec::new();
        let mut add = |fields: &Fields| stream.append(&mut lines, fields, self.now, None, None);
        add(&Fields::own(Kind::Start, Own::Start(None)));
        for removed in removed {
            add(&Fields::own(Kind::Prune, Own::Prune(removed.clone())));
        }
        add(&Fields::new(Kind::Stop));
        let note = stream
            .checkpoint(&mut lines, self.now, &*self.signer)
            .map_err(PruneError::Sign)?;
        let names = segments(&self.folder).map_err(failed)?;
        let after = |name: &Name| Timestamp::from_micros(name.began.micros() + 1);
        let name = Name {
            began: names
                .last()
                .map_or(self.now, |name| after(name).max(self.now)),
            stream: id,
            part: Part::Prune,
        };
        self.judge_signer(&note, &name)?;
        Ok(Telling { name, lines })
    }

    /// What the keys do not know would excuse nothing, and the trail would no longer be whole.
    fn judge_signer(&self, note: &str, name: &Name) -> Result<(), PruneError> {
        let judged = Checkpoint::parse(note).map(|checkpoint| {
            let judged = checkpoint.judge(&self.keys);
            (judged, checkpoint.size())
        });
        let Ok((Err(fault), size)) = judged else {
            return Ok(());
        };
        let (kind, what) = signature_fault(fault);
        let signer = self.signer.name();
        Err(PruneError::NotWhole(Fault {
            kind,
            stream: name.stream.clone(),
            seq: size + 1,
            to: None,
            file: name.to_string(),
            line: size + 1,
            what: format!(
                "{what}: the signing key {signer} is not one of the public keys that hold now; add \
                 its public key to them"
            ),
        }))
    }

    /// Writes it, and makes sure that the trail is whole with it.
    fn tell(&self, telling: &Telling) -> Result<(), PruneError> {
        let name = telling.name.to_string();
        write(&self.folder, &name, &telling.lines)
            .map_err(|error| PruneError::Io(self.folder.clone(), error))?;
        self.verified().and_then(whole).map(drop).inspect_err(|_| {
            let _ = fs::remove_file(self.folder.join(&name));
        })
    }
}

/// What was removed before, of a trail that is whole.
fn whole((report, pruned): (VerifyReport, Pruned)) -> Result<Pruned, PruneError> {
    match report.first_fault() {
        Some(fault) => Err(PruneError::NotWhole(fault.clone())),
        None => Ok(pruned),
    }
}

/// Whether a record says that this segment is removed.
fn is_told(name: &Name, pruned: &Pruned) -> bool {
    let mut removed = pruned.of(&name.stream).iter();
    removed.any(|removed| {
        let last = Name::parse(&removed.last);
        last.is_some_and(|last| {
            (last.began, &last.stream) == (name.began, &name.stream) && name.part <= last.part
        })
    })
}

/// Removes segments, of a stream the newest first: what is left after a crash then begins at its
/// beginning, or where the record says.
pub(super) fn remove(folder: &Path, names: &[String]) -> Result<(), PruneError> {
    for (removed, name) in names.iter().rev().enumerate() {
        let path = folder.join(name);
        if let Err(error) = fs::remove_file(&path) {
            return Err(PruneError::Partly(removed, path, error));
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    sync_folder(folder).map_err(|error| PruneError::Io(folder.to_owned(), error))
}

/// The segment that says what is removed.
#[derive(Debug)]
struct Telling {
    name: Name,
    lines: Vec<u8>,
}

fn write(folder: &Path, name: &str, lines: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    only_for_owner(&mut options);
    let path = folder.join(name);
    let mut file = options.open(&path)?;
    let written = file.write_all(lines).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    sync_folder(folder)
}

/// Six years, and the days that leap years add at most.
const KEPT: Duration = Duration::from_secs((6 * 365 + 2) * 24 * 60 * 60);
