//! Verifies that each stream follows the one right before it, and that all of them are proved.

use std::collections::{HashMap, HashSet};

use super::fault::{Fault, FaultKind};
use super::report::{StreamNote, VerifyReport, push};
use super::state::{Begin, Place, Pruned};
use super::stream::{AFTER_STOP, Verified};
use crate::audit::record::{OldStream, Removed};
use crate::audit::scalar::{Hash, Timestamp};
use crate::audit::store::Name;

/// The streams that were read, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Seen>);

/// What must be known of a stream that was read.
#[derive(Debug)]
struct Seen {
    id: String,
    began: Timestamp,
    size: u64,
    head: Hash,
    proved: u64,
    begin: Begin,
    is_stopped: bool,
    has_events: bool,
    next: Option<String>,
    after_stop: Option<(u64, Place)>,
    first_place: Place,
    last_place: Place,
}

/// With what the streams are judged.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) pruned: &'a Pruned,
    pub(super) has_keys: bool,
}

impl Links {
    pub(super) fn add(&mut self, name: &Name, verified: Verified) {
        let Verified { state, .. } = verified;
        // One in which nothing was written before a crash follows none and is followed by none.
        if state.size == 0 && !verified.is_stopped {
            return;
        }
        self.0.push(Seen {
            id: name.stream.clone(),
            began: name.began,
            size: state.size,
            head: state.head,
            proved: state.proved,
            begin: verified.begin,
            is_stopped: verified.is_stopped,
            has_events: verified.has_events,
            next: verified.next,
            after_stop: verified.after_stop,
            first_place: verified.first_place,
            last_place: verified.last_place,
        });
    }

    /// Judges what the first records of the streams name, and which streams are proved.
    pub(super) fn judge(mut self, terms: &Terms<'_>, report: &mut VerifyReport) {
        self.add_removed(terms.pruned);
        let seen = self.0.as_slice();
        let ids = seen.iter().enumerate();
        let by_id: HashMap<_, _> = ids.map(|(index, seen)| (seen.id.as_str(), index)).collect();
        let mut links = Judged {
            seen,
            by_id,
            pruned: terms.pruned,
            followed: HashMap::new(),
            holds: HashSet::new(),
            faults: Vec::new(),
        };
        for index in 0..seen.len() {
            links.link(index);
        }
        links.ends();
        let Judged {
            holds,
            mut faults,
            by_id,
            ..
        } = links;
        let proved = self.proved(&holds, terms, &mut faults);
        for (seen, proved) in seen.iter().zip(proved) {
            let note = |seq, count| StreamNote {
                stream: seen.id.clone(),
                seq,
                count,
            };
            if seen.size > proved {
                push(&mut report.unsigned, note(proved, seen.size - proved));
            }
            if proved > seen.proved {
                let late = note(seen.proved, proved - seen.proved);
                push(&mut report.signed_late, late);
            }
        }
        for fault in faults {
            push(&mut report.faults, fault);
        }
        // In the order of the streams, whichever way each fault was found.
        report
            .faults
            .sort_by_key(|fault| by_id.get(fault.stream.as_str()).copied());
    }

    /// Adds the streams of which nothing is left, and what the removed first records named.
    fn add_removed(&mut self, pruned: &Pruned) {
        for seen in &mut self.0 {
            if seen.begin == Begin::Removed {
                seen.begin = pruned.begin(&seen.id);
            }
        }
        let there: HashSet<_> = self.0.iter().map(|seen| seen.id.clone()).collect();
        for id in pruned.streams().filter(|id| !there.contains(*id)) {
            let removed = pruned.of(id).iter();
            let Some(last) = removed.max_by_key(|removed| removed.old.size) else {
                continue;
            };
            let Some(name) = Name::parse(&last.first) else {
                continue;
            };
            self.0.push(Seen {
                id: id.to_owned(),
                began: name.began,
                size: last.old.size,
                head: last.old.head,
                proved: last.old.size,
                begin: pruned.begin(id),
                is_stopped: false,
                has_events: true,
                next: None,
                after_stop: None,
                first_place: pruned.place(id),
                last_place: pruned.place(id),
            });
        }
        self.0.sort_by_key(|seen| seen.began);
    }

    /// Up to which record each stream is proved. With keys, all of a stream must be proved by its own
    /// last checkpoint, or because a proved `start` names its end: a process that finds a stream
    /// without a checkpoint at its end signs its own `start`. Only the newest may have an end that is
    /// not signed yet, and so may those after it that hold nothing.
    fn proved(
        &self,
        holds: &HashSet<usize>,
        terms: &Terms<'_>,
        faults: &mut Vec<Fault>,
    ) -> Vec<u64> {
        let mut proved: Vec<u64> = self.0.iter().map(|seen| seen.proved).collect();
        let (mut after, mut has_events) = (None, false);
        for (index, (seen, proved)) in self.0.iter().zip(&mut proved).enumerate().rev() {
            // What it is named by: the stream right after it, and whether that is proved.
            let follower = after.filter(|_| holds.contains(&(index + 1)));
            if follower == Some(true) {
                *proved = seen.size;
            }
            // Where a link does not hold, or its stream could not be read, a fault is told already.
            has_events &= follower.is_some();
            // What a crash has left of a removal was signed, or it was not removed.
            let is_left = terms.pruned.covers(&seen.id, seen.size + 1);
            if *proved < seen.size && (has_events || is_left) && terms.has_keys {
                let what = match is_left {
                    true => {
                        "no checkpoint signs the records from here, and those after were removed"
                    }
                    false => "no checkpoint signs the records from here, and streams follow",
                };
                faults.push(seen.fault(FaultKind::Unsigned, *proved + 1, what.to_owned()));
            }
            has_events |= seen.has_events;
            // Only its own checkpoint vouches for the stream before, or nothing could end a row of
            // streams that were written again; a crash may leave a mere `start` in between.
            let vouches = seen.proved > 0 || (!seen.has_events && *proved > 0);
            after = (!seen.is_stopped).then_some(vouches);
        }
        proved
    }
}

/// The links while they are judged.
struct Judged<'a> {
    seen: &'a [Seen],
    by_id: HashMap<&'a str, usize>,
    pruned: &'a Pruned,
    /// By which stream each is followed.
    followed: HashMap<&'a str, usize>,
    /// The streams whose first record names the one right before it, as it is.
    holds: HashSet<usize>,
    faults: Vec<Fault>,
}

impl<'a> Judged<'a> {
    fn link(&mut self, index: usize) {
        let seen = self.seen;
        let Some(this) = seen.get(index) else { return };
        let before = index.checked_sub(1).and_then(|before| seen.get(before));
        let is_right_before = |id: &str| before.is_some_and(|before| before.id == id);
        let old = match &this.begin {
            Begin::Unknown | Begin::Removed => return,
            Begin::First => {
                if let Some(before) = before {
                    self.follows_none(this, before);
                }
                return;
            }
            Begin::After(old) => old,
        };
        if let Some(other) = self.followed.get(old.stream.as_str()).copied() {
            return self.fork(old, index, other);
        }
        self.followed.insert(&old.stream, index);
        let Some(there) = self
            .by_id
            .get(old.stream.as_str())
            .and_then(|old| seen.get(*old))
        else {
            let what = format!("the stream that stream {} follows is not there", this.id);
            let mut fault = this.fault_at_start(FaultKind::Missing, what);
            fault.stream.clone_from(&old.stream);
            fault.to = Some(old.size);
            self.faults.push(fault);
            return;
        };
        let compared = self.compare(old, there);
        let is_same = compared.is_none() && old.size == there.size && !there.is_stopped;
        self.faults.extend(compared);
        if !is_right_before(&old.stream) {
            self.not_right_before(this, old);
        } else if is_same {
            self.holds.insert(index);
        }
    }

    /// Says that the stream follows another than the one right before it, if it is not told already of
    /// the one between.
    fn not_right_before(&mut self, this: &Seen, old: &OldStream) {
        let began = |id: &str| {
            self.by_id
                .get(id)
                .and_then(|index| self.seen.get(*index))
                .map(|seen| seen.began)
        };
        let what = match began(&old.stream) {
            Some(began) if began > this.began => {
                format!("it follows stream {}, which began after it", old.stream)
            }
            _ => {
                let from = began(&old.stream).unwrap_or_default();
                let is_between = |seen: &&Seen| {
                    let is_other = seen.id != this.id && seen.id != old.stream;
                    is_other && seen.began >= from && seen.began <= this.began
                };
                let is_told = |seen: &Seen| {
                    let mut faults = self.faults.iter();
                    seen.is_stopped || faults.any(|fault| fault.stream == seen.id)
                };
                let mut between = self.seen.iter().filter(is_between);
                let Some(other) = between.find(|seen| !is_told(seen)) else {
                    return;
                };
                // Whoever has no key can put a stream between two.
                if this.proved > 0 && other.proved == 0 {
                    let what = format!("no stream follows it: {} does not", this.id);
                    self.faults
                        .push(other.fault_at_start(FaultKind::Spliced, what));
                    return;
                }
                format!("it follows stream {}, and others are between", old.stream)
            }
        };
        self.faults
            .push(this.fault_at_start(FaultKind::Spliced, what));
    }

    /// A stream follows none, and is not the first.
    fn follows_none(&mut self, this: &Seen, before: &Seen) {
        // Whoever has no key can put a stream before the first.
        let fault = match this.proved > 0 && before.proved == 0 {
            true => {
                let what = format!("no stream follows it: stream {} is the first", this.id);
                before.fault_at_start(FaultKind::Spliced, what)
            }
            false => {
                let what = "the stream follows none, and there are streams before".to_owned();
                this.fault_at_start(FaultKind::Spliced, what)
            }
        };
        self.faults.push(fault);
    }

    /// Two streams follow the same one. The one that no checkpoint proves is the false one.
    fn fork(&mut self, old: &'a OldStream, index: usize, other: usize) {
        let (Some(this), Some(first)) = (self.seen.get(index), self.seen.get(other)) else {
            return;
        };
        let (bad, good) = match this.proved > 0 && first.proved == 0 {
            true => (first, this),
            false => (this, first),
        };
        let what = format!("stream {} follows stream {} too", good.id, old.stream);
        self.faults
            .push(bad.fault_at_start(FaultKind::Forked, what));
    }

    /// Whether a stream is what the one after it says.
    fn compare(&self, old: &OldStream, before: &Seen) -> Option<Fault> {
        let size = before.size;
        let is_removed = |removed: &Removed| removed.old == *old;
        let mut removed = self.pruned.of(&old.stream).iter();
        if before.is_stopped || old.size > size && removed.any(is_removed) {
            return None;
        }
        if old.size > size {
            let what = format!("the stream after it says that it had {} records", old.size);
            let mut fault = before.fault(FaultKind::Truncated, size + 1, what);
            fault.to = Some(old.size);
            return Some(fault);
        }
        if old.size < size {
            let what = format!("the stream after it says that it had {} records", old.size);
            return Some(before.fault(FaultKind::Forked, old.size + 1, what));
        }
        (old.head != before.head).then(|| {
            let what = "the records are not those that the stream after it names".to_owned();
            let first = (before.proved + 1).min(size);
            let mut fault = before.fault(FaultKind::Edited, first, what);
            fault.to = Some(size);
            fault
        })
    }

    /// Judges how the streams end.
    fn ends(&mut self) {
        for seen in self.seen {
            if let Some(next) = &seen.next
                && !seen.is_stopped
                && !self.followed.contains_key(seen.id.as_str())
                && !self.pruned.covers(&seen.id, seen.size + 1)
            {
                let what = format!("the next segment {next} is not there");
                self.faults
                    .push(seen.fault(FaultKind::Truncated, seen.size + 1, what));
            }
            let is_told =
                |fault: &Fault| fault.stream == seen.id && fault.kind == FaultKind::Forked;
            if let Some((seq, (file, line))) = &seen.after_stop
                && !self.faults.iter().any(is_told)
            {
                let mut fault = seen.fault(FaultKind::Inserted, *seq, AFTER_STOP.to_owned());
                (fault.file, fault.line) = (file.clone(), *line);
                self.faults.push(fault);
            }
        }
    }
}

impl Seen {
    /// A fault that was seen at the end of the stream.
    fn fault(&self, kind: FaultKind, seq: u64, what: String) -> Fault {
        self.fault_in(&self.last_place, kind, seq, what)
    }

    /// One that its first record shows.
    fn fault_at_start(&self, kind: FaultKind, what: String) -> Fault {
        self.fault_in(&self.first_place, kind, 1, what)
    }

    fn fault_in(&self, place: &Place, kind: FaultKind, seq: u64, what: String) -> Fault {
        let (file, line) = place.clone();
        Fault {
            kind,
            stream: self.id.clone(),
            seq,
            to: None,
            file,
            line,
            what,
        }
    }
}
