//! The whole verification.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::fault::{Fault, FaultKind};
use super::links::{Links, Terms};
use super::removed::External;
use super::report::{VerifyReport, push};
use super::seals::Seals;
use super::signed::signature_fault;
use super::state::Pruned;
use super::stream::{self, Means};
use super::walk::by_stream;
use crate::audit::proof::{Checkpoint, PublicKeys, SealingKey};
use crate::audit::scalar::Timestamp;
use crate::audit::store::{Name, Part, torn_files};

/// Verifies the trail in a folder, in one pass and in memory that depends neither on its length nor on
/// that of a line, but for a few hundred bytes for each file. A trail that is being written can be
/// verified.
///
/// # What it finds
///
/// Each record that was edited, removed, moved, doubled or put in; streams that were mixed, forked or
/// removed; signatures that do not hold; with keys, streams that are not proved to their end, but for
/// the newest. That the end of the newest stream was cut off, or written again since its last
/// checkpoint, is found only with a [`Checkpoint`] from a second place. Whoever has the signing key,
/// and changes the second place too, can forge a trail.
///
/// # Example
/// ```
/// use tower_mesh::audit::{PublicKeys, Verify};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (folder, text) = (tempfile::tempdir()?, "");
/// let report = Verify::new(folder.path()).keys(PublicKeys::parse(text)?).run()?;
/// assert!(report.is_whole(), "{report}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Verify {
    folder: PathBuf,
    keys: PublicKeys,
    checkpoints: Vec<Checkpoint>,
    most_unsigned: u64,
    sealing: Option<Arc<SealingKey>>,
    sealing_now: Option<Arc<SealingKey>>,
    now: Timestamp,
}

/// A file could not be read.
#[derive(Debug)]
pub struct VerifyError {
    folder: PathBuf,
    error: io::Error,
}

impl Verify {
    /// Verifies the trail in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            keys: PublicKeys::default(),
            checkpoints: Vec::new(),
            most_unsigned: 10_000,
            sealing: None,
            sealing_now: None,
            now: SystemTime::now().into(),
        }
    }

    /// Verifies signatures with these keys. Without keys, checkpoints are compared with the records and
    /// their signatures are not judged.
    pub fn keys(mut self, keys: PublicKeys) -> Self {
        self.keys = keys;
        self
    }

    /// Compares the trail with checkpoints from a second place.
    pub fn checkpoints(mut self, checkpoints: Vec<Checkpoint>) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// Verifies the seals of closed segments with the start key of the trail. Without it they are not
    /// judged.
    pub fn sealing_key(mut self, start: SealingKey) -> Self {
        self.sealing = Some(Arc::new(start));
        self
    }

    /// The key that the process which writes the trail has now: with the start key, it shows an end
    /// that was cut off behind an older seal.
    pub fn sealing_now(mut self, now: SealingKey) -> Self {
        self.sealing_now = Some(Arc::new(now));
        self
    }

    /// With keys, so many records of a stream may follow each other without a checkpoint. By default,
    /// 10,000.
    pub fn most_unsigned(mut self, records: u64) -> Self {
        self.most_unsigned = records;
        self
    }

    /// Judges at this time what was removed.
    pub(crate) fn at(mut self, now: SystemTime) -> Self {
        self.now = now.into();
        self
    }

    /// Reads all.
    ///
    /// # Errors
    /// A file cannot be read, or the sealing key is no start key.
    pub fn run(&self) -> Result<VerifyReport, VerifyError> {
        match self.run_with_pruned() {
            Ok((report, _)) => Ok(report),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Also returns what was removed.
    pub(crate) fn run_with_pruned(&self) -> io::Result<(VerifyReport, Pruned)> {
        self.read(&self.folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn failed(&self, error: io::Error) -> VerifyError {
        VerifyError {
            folder: self.folder.clone(),
            error,
        }
    }

    fn read(&self, folder: &Path) -> io::Result<(VerifyReport, Pruned)> {
        let mut report = VerifyReport {
            signatures_verified: !self.keys.is_empty(),
            torn_files: torn_files(folder)?,
            ..VerifyReport::default()
        };
        let external = self.external(&mut report);
        let streams = by_stream(folder)?;
        let mut ids = BTreeSet::new();
        let mut doubled = BTreeSet::new();
        for is_prune in [false, true] {
            for (index, names) in streams.iter().enumerate() {
                if let Some(name) = names.first()
                    && (name.part == Part::Prune) == is_prune
                    && !ids.insert(name.stream.as_str())
                {
                    doubled.insert(index);
                    push(&mut report.faults, is_doubled(name));
                }
            }
        }
        let once = streams.iter().enumerate();
        let once = once.filter(|(index, _)| !doubled.contains(index));
        let is_prune = |names: &&Vec<Name>| names.iter().any(|name| name.part == Part::Prune);
        let (prunes, written): (Vec<_>, Vec<_>) = once.map(|(_, names)| names).partition(is_prune);
        let nothing = Pruned::default();
        let no_seals = RefCell::default();
        let seals = Seals::new(self.sealing.as_deref(), self.sealing_now.as_ref())?;
        let seals = RefCell::new(seals);
        let mut means = Means {
            folder,
            keys: &self.keys,
            external: &external,
            most_unsigned: self.most_unsigned,
            pruned: &nothing,
            is_last: false,
            seals: &no_seals,
            latest: Timestamp::default(),
        };
        let mut pruned = Pruned::default();
        for names in prunes {
            let verified = stream::verify(names, &means, &mut report)?;
            if !verified.is_stopped {
                for removal in verified.removals {
                    pruned.judge(removal, &external, self.now, &mut report);
                }
            }
        }
        report.pruned_streams = pruned.len();
        means.pruned = &pruned;
        means.seals = &seals;
        let mut links = Links::default();
        let last = written.last().and_then(|names| names.first());
        let last = last.map(|name| name.began);
        for names in &written {
            let Some(name) = names.first() else { continue };
            if pruned.is_elsewhere(name) {
                push(&mut report.faults, is_doubled(name));
                continue;
            }
            means.is_last = Some(name.began) == last;
            let verified = stream::verify(names, &means, &mut report)?;
            means.latest = verified.latest;
            links.add(name, verified);
        }
        let terms = Terms {
            pruned: &pruned,
            has_keys: !self.keys.is_empty(),
        };
        links.judge(&terms, &mut report);
        if let Some((stream, bad)) = seals.borrow_mut().end(&mut report) {
            let fault = Fault {
                kind: bad.kind,
                stream: stream.to_owned(),
                seq: bad.seq,
                to: None,
                file: SEALS.to_owned(),
                line: 0,
                what: bad.what,
            };
            push(&mut report.faults, fault);
        }
        self.judge_missing(&external, &ids, &pruned, &mut report);
        Ok((report, pruned))
    }

    /// The checkpoints from elsewhere that hold.
    fn external(&self, report: &mut VerifyReport) -> External<'_> {
        let mut external = External::new();
        for (index, checkpoint) in self.checkpoints.iter().enumerate() {
            if !self.keys.is_empty()
                && let Err(fault) = checkpoint.judge(&self.keys)
            {
                let (kind, what) = signature_fault(fault);
                push(
                    &mut report.faults,
                    Fault {
                        kind,
                        stream: checkpoint.stream().to_owned(),
                        seq: checkpoint.size(),
                        to: None,
                        file: ELSEWHERE.to_owned(),
                        line: index as u64 + 1,
                        what: what.to_owned(),
                    },
                );
                continue;
            }
            let sizes = external.entry(checkpoint.stream()).or_default();
            let first = *sizes.entry(checkpoint.size()).or_insert(checkpoint);
            // Whoever has the key has shown two histories.
            if first.root() != checkpoint.root() || first.head() != checkpoint.head() {
                push(
                    &mut report.faults,
                    Fault {
                        kind: FaultKind::Forked,
                        stream: checkpoint.stream().to_owned(),
                        seq: checkpoint.size(),
                        to: None,
                        file: ELSEWHERE.to_owned(),
                        line: index as u64 + 1,
                        what: "two checkpoints of this size are about different records".to_owned(),
                    },
                );
            }
        }
        external
    }

    /// Streams that checkpoints from elsewhere know and that are not there.
    fn judge_missing(
        &self,
        external: &External<'_>,
        ids: &BTreeSet<&str>,
        pruned: &Pruned,
        report: &mut VerifyReport,
    ) {
        for (id, sizes) in external {
            let Some((size, _)) = sizes.last_key_value() else {
                continue;
            };
            let is_there = ids.contains(id)
                || pruned.covers(id, *size)
                || report.faults.iter().any(|fault| fault.stream == *id);
            if !is_there {
                report.faults.push(Fault {
                    kind: FaultKind::Missing,
                    stream: (*id).to_owned(),
                    seq: 1,
                    to: Some(*size),
                    file: ELSEWHERE.to_owned(),
                    line: self
                        .checkpoints
                        .iter()
                        .position(|checkpoint| checkpoint.stream() == *id)
                        .map_or(0, |index| index as u64 + 1),
                    what: "a checkpoint from elsewhere is about a stream that is not there"
                        .to_owned(),
                });
            }
        }
    }
}

/// A stream is in files of two times, or in files of two sorts.
fn is_doubled(name: &Name) -> Fault {
    Fault {
        kind: FaultKind::Duplicated,
        stream: name.stream.clone(),
        seq: 1,
        to: None,
        file: name.to_string(),
        line: 1,
        what: "the stream is there a second time, under another name".to_owned(),
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the audit trail in {} cannot be read",
            self.folder.display()
        )
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

const ELSEWHERE: &str = "checkpoints";
const SEALS: &str = "seals";
