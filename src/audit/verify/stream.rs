//! Verifies one stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use super::classify::{Bad, classify};
use super::fault::{Fault, FaultKind};
use super::report::{GapNote, OpenIntent, StreamNote, VerifyReport, push};
use super::seals::Seals;
use super::state::{Pruned, State};
use super::walk::{Spot, Walk};
use crate::audit::proof::{Checkpoint, PublicKeys, SignatureFault, record_hash};
use crate::audit::record::{Entry, Fields, Kind, Link, OldStream, Own, Removed, write};
use crate::audit::scalar::{Hash, Timestamp};
use crate::audit::store::{Name, Part};

/// What a verification is made with.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) folder: &'a Path,
    pub(super) keys: &'a PublicKeys,
    /// From elsewhere: of each stream, by size.
    pub(super) external: &'a BTreeMap<&'a str, BTreeMap<u64, &'a Checkpoint>>,
    pub(super) most_unsigned: u64,
    /// Up to which record of a stream to go, if not to its end.
    pub(super) pruned: &'a Pruned,
    /// Whether a stream after this one exists, so that a restart has cut its torn line.
    pub(super) is_last: bool,
    pub(super) seals: &'a RefCell<Seals>,
}

/// What is known of a stream when it was read.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) state: State,
    pub(super) is_faulty: bool,
    /// Whether the first record is there and begins the stream; and what it names.
    pub(super) start: Option<Option<OldStream>>,
    /// The segment that the last record, a `rotate`, names.
    pub(super) next: Option<String>,
    pub(super) removed: Vec<(u64, Removed)>,
    pub(super) last_place: (String, u64),
}

/// A stream that is being read.
struct Check<'a> {
    means: &'a Means<'a>,
    names: &'a [Name],
    stream: &'a str,
    report: &'a mut VerifyReport,
    verified: Verified,
    /// The segment of the last line.
    file: Option<usize>,
    intents: HashMap<u64, u64>,
    more_intents: u64,
    latest: Timestamp,
}

/// Verifies a stream, and adds what is found to the report.
pub(super) fn verify(
    names: &[Name],
    means: &Means<'_>,
    report: &mut VerifyReport,
) -> io::Result<Verified> {
    let stream = names.first().map_or("", |name| name.stream.as_str());
    let mut check = Check {
        means,
        names,
        stream,
        report,
        verified: Verified {
            state: State::genesis(stream),
            is_faulty: false,
            start: None,
            next: None,
            removed: Vec::new(),
            last_place: (String::new(), 0),
        },
        file: None,
        intents: HashMap::new(),
        more_intents: 0,
        latest: Timestamp::default(),
    };
    let mut walk = Walk::new(means.folder, names);
    while let Some(spot) = walk.next()? {
        if let Some(bad) = check.line(&spot)? {
            if !bad.is_torn {
                check.fault(bad);
            }
            break;
        }
    }
    check.end();
    Ok(check.verified)
}

impl Check<'_> {
    /// Takes a line. Returns what is wrong with it.
    fn line(&mut self, spot: &Spot<'_>) -> io::Result<Option<Bad>> {
        let line = spot.line;
        if self.file != Some(spot.file) {
            self.file = Some(spot.file);
            let name = self.names.get(spot.file);
            self.verified.last_place.0 = name.map(Name::to_string).unwrap_or_default();
        }
        self.verified.last_place.1 = line.number;
        let next = self.verified.state.next();
        let entry = match Entry::parse(line.bytes) {
            Ok(entry) if line.is_ended => entry,
            other => {
                let is_last = self.means.is_last && spot.file + 1 == self.names.len();
                if !line.is_ended && is_last {
                    let count = line.bytes.len() as u64;
                    let note = self.note(next, count);
                    push(&mut self.report.torn_tails, note);
                    return Ok(Some(Bad::torn()));
                }
                let what = other.err().map_or_else(
                    || "the line has no end".to_owned(),
                    |error| error.to_string(),
                );
                return Ok(Some(Bad::new(FaultKind::NotCanonical, next, what)));
            }
        };
        // Records before this one were removed, and a record that holds says so.
        if entry.seq() > next
            && let Some(removed) = self.means.pruned.before(self.stream, entry.seq())
            && *entry.prev() == removed.old.head
            && let Some(state) = State::after(removed)
        {
            self.verified.state = state;
            self.means.seals.borrow_mut().skip();
            self.verified.start.get_or_insert(None);
        }
        let state = &self.verified.state;
        let follows = entry.seq() == state.next()
            && *entry.prev() == state.head
            && entry.stream() == self.stream;
        if !follows {
            let keys = self.means.keys;
            let bad = classify(self.means.folder, self.names, spot, &entry, state, keys)?;
            return Ok(Some(bad));
        }
        let hash = record_hash(line.bytes);
        Ok(self.record(&entry, hash))
    }

    /// Takes a record that follows the one before.
    fn record(&mut self, entry: &Entry<'_>, hash: Hash) -> Option<Bad> {
        let seq = entry.seq();
        if entry.kind() != "checkpoint" {
            self.verified.next = None;
        }
        match entry.kind() {
            "checkpoint" => {
                let bad = self.checkpoint(entry);
                if bad.is_some() {
                    return bad;
                }
            }
            // The last record has nothing after it that shows that it was one.
            _ if entry.field("note").is_some() => {
                let what = "a checkpoint has the type of another record";
                return Some(Bad::new(FaultKind::Edited, seq, what.to_owned()));
            }
            "start" if seq == 1 => {
                let old = entry.old();
                if let Some(old) = &old
                    && self.means.pruned.is_known(&old.stream)
                {
                    self.means.seals.borrow_mut().skip();
                }
                self.verified.start = Some(old);
            }
            "rotate" => self.verified.next = entry.text("next").map(Into::into),
            "gap" => self.gap(entry),
            "access" => self.access(entry),
            "prune" => {
                let removed = entry.removed().map(|removed| (seq, removed));
                self.verified.removed.extend(removed);
            }
            _ => {}
        }
        if let Some(bad) = self.means.seals.borrow_mut().judge(entry) {
            return Some(bad);
        }
        self.time(entry);
        let state = &mut self.verified.state;
        state.head = hash;
        state.tree.push(entry.as_str().as_bytes());
        self.report.records += 1;
        if entry.kind() == "checkpoint" {
            // It was proved with what it signs: nobody without the key could have made it.
            state.proved = seq;
        }
        self.external(seq).or_else(|| {
            let unsigned = seq - self.verified.state.proved;
            let is_much = !self.means.keys.is_empty() && unsigned > self.means.most_unsigned;
            let first = self.verified.state.proved + 1;
            let what = || format!("no checkpoint signs the {unsigned} records from here");
            is_much.then(|| Bad::new(FaultKind::Unsigned, first, what()))
        })
    }

    /// Judges the checkpoint that is in a record.
    fn checkpoint(&mut self, entry: &Entry<'_>) -> Option<Bad> {
        let seq = entry.seq();
        let note = entry.text("note").unwrap_or_default();
        let checkpoint = match Checkpoint::parse(&note) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let what = format!("no checkpoint: {}", error.what());
                return Some(Bad::new(FaultKind::NotCanonical, seq, what));
            }
        };
        if !self.means.keys.is_empty()
            && let Err(fault) = checkpoint.judge(self.means.keys)
        {
            let (kind, what) = signature_fault(fault);
            return Some(Bad::new(kind, seq, what.to_owned()));
        }
        if checkpoint.stream() != self.stream || checkpoint.size().checked_add(1) != Some(seq) {
            let what = "the checkpoint is about another stream, or another place in it";
            return Some(Bad::new(FaultKind::Spliced, seq, what.to_owned()));
        }
        let bad = self.compare(&checkpoint);
        if bad.is_none() && !is_as_written(entry, &checkpoint) {
            // No record after the last one shows that it was changed.
            let what = "the record has more or other fields than its checkpoint";
            return Some(Bad::new(FaultKind::Edited, seq, what.to_owned()));
        }
        self.report.checkpoints += u64::from(bad.is_none());
        bad
    }

    /// Judges the checkpoint from elsewhere about the stream up to this record.
    fn external(&mut self, size: u64) -> Option<Bad> {
        let checkpoint = *self.means.external.get(self.stream)?.get(&size)?;
        let bad = self.compare(checkpoint);
        if bad.is_none() {
            self.report.external_checkpoints += 1;
            self.verified.state.proved = self.verified.state.proved.max(size);
        }
        bad
    }

    /// Whether the records up to here are those that a checkpoint has signed.
    fn compare(&self, checkpoint: &Checkpoint) -> Option<Bad> {
        let state = &self.verified.state;
        if *checkpoint.head() == state.head && *checkpoint.root() == state.tree.root() {
            return None;
        }
        let what = "the records are not those that the checkpoint has signed";
        let mut bad = Bad::new(FaultKind::Edited, state.proved + 1, what.to_owned());
        bad.to = Some(checkpoint.size());
        Some(bad)
    }

    fn gap(&mut self, entry: &Entry<'_>) {
        let text = |name| entry.text(name).unwrap_or_default().into_owned();
        let n = entry.number("n").unwrap_or_default();
        self.report.gaps += 1;
        self.report.gap_events = self.report.gap_events.saturating_add(n);
        let note = GapNote {
            stream: self.stream.to_owned(),
            seq: entry.seq(),
            from: text("from"),
            to: text("to"),
            n,
            reason: text("reason"),
        };
        push(&mut self.report.first_gaps, note);
    }

    fn access(&mut self, entry: &Entry<'_>) {
        let Some(call) = entry.number("call") else {
            return;
        };
        match entry.text("phase").as_deref() {
            Some("intent") if self.intents.len() < MOST_INTENTS => {
                self.intents.insert(call, entry.seq());
            }
            Some("intent") => self.more_intents += 1,
            Some("completion") if self.intents.remove(&call).is_none() => {
                self.more_intents = self.more_intents.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn time(&mut self, entry: &Entry<'_>) {
        let time = entry.time();
        let back = self.latest.micros().saturating_sub(time.micros());
        if back > MOST_BACK_MICROS {
            self.report.clock_steps_back += 1;
            let note = self.note(entry.seq(), back / 1000);
            push(&mut self.report.first_clock_steps, note);
            self.latest = time;
        }
        self.latest = self.latest.max(time);
    }

    /// All lines were read, or a bad one was found.
    fn end(&mut self) {
        let state = &self.verified.state;
        let (size, proved) = (state.tree.size(), state.proved);
        if !self.verified.is_faulty {
            let later = self.means.external.get(self.stream);
            let later = later.and_then(|sizes| sizes.range(size + 1..).next_back());
            if let Some((signed, _)) = later {
                let what = format!("a checkpoint from elsewhere has signed {signed} records");
                let mut bad = Bad::new(FaultKind::Truncated, size + 1, what);
                bad.to = Some(*signed);
                self.fault(bad);
            }
        }
        // It was made before it was named, may still be empty, and may be younger than this
        // verification.
        let is_there = |next: &String| {
            let is_name = Name::parse(next).is_some();
            is_name && self.means.folder.join(next).exists()
        };
        self.verified.next = self.verified.next.take().filter(|next| !is_there(next));
        if size > proved {
            let note = self.note(proved, size - proved);
            push(&mut self.report.unsigned, note);
        }
        self.report.open_intents += self.intents.len() as u64 + self.more_intents;
        let mut open: Vec<_> = self.intents.drain().collect();
        open.sort_unstable_by_key(|(_, seq)| *seq);
        for (call, seq) in open {
            let stream = self.stream.to_owned();
            push(
                &mut self.report.first_open_intents,
                OpenIntent { stream, seq, call },
            );
        }
        self.report.streams += 1;
        self.report.segments += self.names.len() as u64;
        let is_prune = |name: &Name| name.part == Part::Prune;
        if self.names.iter().any(is_prune) && !self.means.keys.is_empty() {
            // What no checkpoint proves excuses nothing.
            self.verified.removed.retain(|(seq, _)| *seq <= proved);
        }
    }

    fn fault(&mut self, bad: Bad) {
        let (file, line) = self.verified.last_place.clone();
        self.verified.is_faulty = true;
        self.means.seals.borrow_mut().skip();
        let fault = Fault {
            kind: bad.kind,
            stream: self.stream.to_owned(),
            seq: bad.seq,
            to: bad.to,
            file,
            line,
            what: bad.what,
        };
        push(&mut self.report.faults, fault);
    }

    fn note(&self, seq: u64, count: u64) -> StreamNote {
        StreamNote {
            stream: self.stream.to_owned(),
            seq,
            count,
        }
    }
}

/// Whether the record of a checkpoint is the one that the writer makes of it.
fn is_as_written(entry: &Entry<'_>, checkpoint: &Checkpoint) -> bool {
    let own = Own::Checkpoint {
        note: checkpoint.to_string(),
    };
    let link = Link {
        stream: checkpoint.stream(),
        seq: checkpoint.size() + 1,
        prev: checkpoint.head(),
        time: checkpoint.time(),
        clock_step: None,
        count: None,
        seal: None,
    };
    let mut line = Vec::new();
    write(&mut line, &Fields::own(Kind::Checkpoint, own), link);
    line == entry.as_str().as_bytes()
}

pub(crate) fn signature_fault(fault: SignatureFault) -> (FaultKind, &'static str) {
    match fault {
        SignatureFault::Bad => (
            FaultKind::BadSignature,
            "the signature of the checkpoint does not hold",
        ),
        SignatureFault::Retired => (
            FaultKind::RetiredKey,
            "the key of the checkpoint was retired before",
        ),
        SignatureFault::UnknownKey => (
            FaultKind::UnknownKey,
            "no known key has signed the checkpoint",
        ),
    }
}

const MOST_INTENTS: usize = 64 * 1024;
const MOST_BACK_MICROS: u64 = 1_000_000;
