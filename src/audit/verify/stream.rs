//! Verifies one stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use super::classify::{Bad, classify};
use super::fault::{Fault, FaultKind};
use super::report::{VerifyReport, push};
use super::seals::Seals;
use super::state::{Begin, Place, Pruned, State};
use super::walk::{Spot, Walk};
use crate::audit::proof::{Checkpoint, PublicKeys, record_hash};
use crate::audit::record::{Entry, Removed};
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
    pub(super) pruned: &'a Pruned,
    /// Whether no stream after this one exists, so that no restart has cut its torn line.
    pub(super) is_last: bool,
    pub(super) seals: &'a RefCell<Seals>,
    /// The latest time of the streams before.
    pub(super) latest: Timestamp,
}

/// What is known of a stream when it was read.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) state: State,
    /// A fault has ended the reading.
    pub(super) is_stopped: bool,
    pub(super) begin: Begin,
    /// The segment that the last record, a `rotate`, names.
    pub(super) next: Option<String>,
    pub(super) removals: Vec<Removal>,
    /// The first record after the `stop`, and where it is.
    pub(super) after_stop: Option<(u64, Place)>,
    /// Whether it has more records than those of its own start and end.
    pub(super) has_events: bool,
    pub(super) latest: Timestamp,
    pub(super) first_place: Place,
    pub(super) last_place: Place,
}

/// What a `prune` record says.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) place: Place,
    pub(super) removed: Removed,
}

/// A stream that is being read.
pub(super) struct Check<'a> {
    pub(super) means: &'a Means<'a>,
    pub(super) names: &'a [Name],
    pub(super) stream: &'a str,
    pub(super) is_prune: bool,
    pub(super) report: &'a mut VerifyReport,
    pub(super) verified: Verified,
    /// The segment of the last line.
    file: Option<usize>,
    pub(super) intents: HashMap<u64, u64>,
    pub(super) more_intents: u64,
    /// What clock steps are measured from.
    pub(super) clock: Timestamp,
    is_stop_seen: bool,
    is_unsigned_told: bool,
    faults: usize,
}

/// Verifies a stream, and adds what is found to the report.
pub(super) fn verify(
    names: &[Name],
    means: &Means<'_>,
    report: &mut VerifyReport,
) -> io::Result<Verified> {
    let stream = names.first().map_or("", |name| name.stream.as_str());
    let place = names.first().map(|name| (name.to_string(), 1));
    let mut check = Check {
        means,
        names,
        stream,
        is_prune: names.iter().any(|name| name.part == Part::Prune),
        report,
        verified: Verified {
            state: State::genesis(stream),
            is_stopped: false,
            begin: Begin::Unknown,
            next: None,
            removals: Vec::new(),
            after_stop: None,
            has_events: false,
            latest: means.latest,
            first_place: place.unwrap_or_default(),
            last_place: Place::default(),
        },
        file: None,
        intents: HashMap::new(),
        more_intents: 0,
        clock: Timestamp::default(),
        is_stop_seen: false,
        is_unsigned_told: false,
        faults: 0,
    };
    let mut walk = Walk::new(means.folder, names);
    while let Some(spot) = walk.next()? {
        if !check.line(&spot)? {
            break;
        }
    }
    check.end();
    Ok(check.verified)
}

impl Check<'_> {
    /// Takes a line. Returns whether to go on.
    fn line(&mut self, spot: &Spot<'_>) -> io::Result<bool> {
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
                if !line.is_ended && self.may_be_torn(spot) {
                    let note = self.note(next, line.bytes.len() as u64);
                    push(&mut self.report.torn_tails, note);
                    return Ok(false);
                }
                let what = other.err().map_or_else(
                    || "the line has no end".to_owned(),
                    |error| error.to_string(),
                );
                return Ok(self.fault(Bad::new(FaultKind::NotCanonical, next, what)));
            }
        };
        // Records before this one were removed, and a record that holds says so.
        if entry.seq() > next
            && let Some(removed) = self.means.pruned.before(self.stream, entry.seq())
            && *entry.prev() == removed.old.head
            && let Some(state) = State::after(removed)
        {
            // What a crash has left of the removal was signed, or it was not removed.
            let left = &self.verified.state;
            if !self.means.keys.is_empty() && left.proved < left.size {
                let what =
                    "no checkpoint signs the records from here, and those after were removed";
                let bad = Bad::new(FaultKind::Unsigned, left.proved + 1, what.to_owned());
                self.fault(bad);
            }
            self.verified.state = state;
            self.means.seals.borrow_mut().skip();
            if self.verified.begin == Begin::Unknown {
                self.verified.begin = Begin::Removed;
            }
        }
        let state = &self.verified.state;
        let follows = entry.seq() == state.next()
            && *entry.prev() == state.head
            && entry.stream() == self.stream;
        if !follows {
            let keys = self.means.keys;
            let bad = classify(self.means.folder, self.names, spot, &entry, state, keys)?;
            if !self.fault(bad) {
                return Ok(false);
            }
            self.verified.state.skip_to(&entry);
        }
        let hash = record_hash(line.bytes);
        Ok(match self.record(&entry, hash) {
            Some(bad) => self.fault(bad),
            None => true,
        })
    }

    /// Whether a crash may have left this line without its end: nothing was written after it, but for
    /// the segment that was made before a `rotate` names it.
    fn may_be_torn(&self, spot: &Spot<'_>) -> bool {
        let is_empty = |name: &Name| {
            let path = self.means.folder.join(name.to_string());
            fs::metadata(path).is_ok_and(|found| found.len() == 0)
        };
        let mut later = self.names.iter().skip(spot.file + 1);
        (self.means.is_last || self.is_prune) && later.all(is_empty)
    }

    /// Takes a record that follows the one before.
    fn record(&mut self, entry: &Entry<'_>, hash: Hash) -> Option<Bad> {
        let seq = entry.seq();
        let bad = self.misplaced(entry).or_else(|| self.kind(entry));
        if bad.is_some() {
            return bad;
        }
        if let Some(bad) = self.means.seals.borrow_mut().judge(entry) {
            return Some(bad);
        }
        self.time(entry);
        let state = &mut self.verified.state;
        state.push(entry.as_str().as_bytes(), hash);
        self.report.records += 1;
        if entry.kind() == "checkpoint" {
            // It was proved with what it signs: nobody without the key could have made it.
            state.proved = seq;
        }
        self.external(seq).or_else(|| self.unsigned(seq))
    }

    /// Whether a record of this type has no place here, whatever it says.
    fn misplaced(&mut self, entry: &Entry<'_>) -> Option<Bad> {
        let (seq, kind) = (entry.seq(), entry.kind());
        let bad = |kind, what: &str| Some(Bad::new(kind, seq, what.to_owned()));
        // The last record has nothing after it that shows that it was a checkpoint.
        if kind != "checkpoint" && entry.field("note").is_some() {
            let what = "a checkpoint has the type of another record";
            return bad(FaultKind::Edited, what);
        }
        if seq == 1 && kind != "start" {
            return bad(
                FaultKind::Spliced,
                "the first record of a stream is no `start`",
            );
        }
        if seq != 1 && kind == "start" {
            return bad(FaultKind::Inserted, "only the first record is a `start`");
        }
        let is_own = matches!(kind, "start" | "prune" | "stop" | "checkpoint");
        if self.is_prune && (!is_own || seq == 1 && entry.field("old").is_some()) {
            let what = "in a file that tells what was removed there is nothing else";
            return bad(FaultKind::Spliced, what);
        }
        if !self.is_prune && kind == "prune" {
            let what = "what was removed is told by a file of its own";
            return bad(FaultKind::Spliced, what);
        }
        if self.is_stop_seen && kind != "checkpoint" {
            if self.means.is_last || self.is_prune {
                return bad(FaultKind::Inserted, AFTER_STOP);
            }
            // The stream that follows says whether it is a second future.
            let place = &self.verified.last_place;
            self.verified
                .after_stop
                .get_or_insert_with(|| (seq, place.clone()));
        }
        None
    }

    fn kind(&mut self, entry: &Entry<'_>) -> Option<Bad> {
        let seq = entry.seq();
        if entry.kind() != "checkpoint" {
            self.verified.next = None;
        }
        let is_own = matches!(entry.kind(), "start" | "stop" | "checkpoint");
        self.verified.has_events |= !is_own;
        match entry.kind() {
            "checkpoint" => return self.checkpoint(entry),
            "start" => {
                let old = entry.old();
                if old.is_some_and(|old| !self.means.pruned.of(&old.stream).is_empty()) {
                    self.means.seals.borrow_mut().skip();
                }
                self.verified.begin = match (entry.old(), entry.field("old")) {
                    (Some(old), _) => Begin::After(old),
                    (None, None) => Begin::First,
                    (None, Some(_)) => {
                        let what = "it does not say which stream it follows".to_owned();
                        return Some(Bad::new(FaultKind::NotCanonical, seq, what));
                    }
                };
            }
            "stop" => self.is_stop_seen = true,
            "rotate" => self.verified.next = entry.text("next").map(Into::into),
            "gap" => self.gap(entry),
            "access" => self.access(entry),
            "prune" => {
                let Some(removed) = entry.removed() else {
                    let what = "it does not say what was removed, or until when".to_owned();
                    return Some(Bad::new(FaultKind::NotCanonical, seq, what));
                };
                self.verified.removals.push(Removal {
                    seq,
                    time: entry.time(),
                    place: self.verified.last_place.clone(),
                    removed,
                });
            }
            _ => {}
        }
        None
    }

    /// Whether too many records follow each other without a checkpoint.
    fn unsigned(&mut self, seq: u64) -> Option<Bad> {
        let proved = self.verified.state.proved;
        let unsigned = seq.saturating_sub(proved);
        // What a prune file says is kept until it is proved, so it is bounded without keys, too.
        let is_judged = !self.means.keys.is_empty() || self.is_prune;
        if self.is_unsigned_told || !is_judged || unsigned <= self.means.most_unsigned {
            return None;
        }
        self.is_unsigned_told = true;
        let what = format!("no checkpoint signs the {unsigned} records from here");
        Some(Bad::new(FaultKind::Unsigned, proved + 1, what))
    }

    /// Adds a fault. Returns whether what comes after it can still be judged.
    pub(super) fn fault(&mut self, bad: Bad) -> bool {
        let (file, line) = self.verified.last_place.clone();
        self.means.seals.borrow_mut().skip();
        let is_hole = matches!(bad.kind, FaultKind::Missing | FaultKind::Unsigned);
        self.faults += 1;
        let goes_on = is_hole && self.faults < MOST_FAULTS && !self.is_prune;
        self.verified.is_stopped |= !goes_on;
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
        goes_on
    }
}

pub(super) const AFTER_STOP: &str = "a record comes after the `stop`";
/// To tell what happened before a hole takes a second reading.
const MOST_FAULTS: usize = 16;
