//! What a verification has found.

use std::fmt;

use serde::Serialize;

use super::fault::Fault;

/// What a verification has found.
///
/// The lists are bounded; the numbers count all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    pub(super) records: u64,
    pub(super) streams: u64,
    pub(super) segments: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) checkpoints: u64,
    /// Whether there were keys to verify the signatures with.
    pub(super) signatures_verified: bool,
    pub(super) external_checkpoints: u64,
    pub(super) gaps: u64,
    pub(super) gap_events: u64,
    pub(super) first_gaps: Vec<GapNote>,
    pub(super) open_intents: u64,
    pub(super) first_open_intents: Vec<OpenIntent>,
    pub(super) unsigned: Vec<StreamNote>,
    pub(super) signed_late: Vec<StreamNote>,
    pub(super) torn_tails: Vec<StreamNote>,
    pub(super) torn_files: Vec<String>,
    pub(super) clock_steps_back: u64,
    pub(super) first_clock_steps: Vec<StreamNote>,
    pub(super) pruned_streams: usize,
    pub(super) seals: u64,
    pub(super) seals_verified: bool,
    pub(super) pruned: Vec<PrunedNote>,
}

/// Records that were removed after six years, as a signed record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrunedNote {
    /// The stream.
    pub stream: String,
    /// Up to which record it was removed.
    pub records: u64,
    /// In how many segments these were that were removed at that time.
    pub segments: u64,
    /// The first of them.
    pub first: String,
    /// The last of them.
    pub last: String,
    /// The latest time of the records.
    pub latest: String,
    /// When they were removed.
    pub at: String,
    /// The file that says so.
    pub file: String,
    /// The line in it.
    pub line: u64,
}

/// Events that are not in the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapNote {
    /// The stream and the number of the record that says so.
    pub stream: String,
    /// Its number.
    pub seq: u64,
    /// When the first was lost.
    pub from: String,
    /// When the trail went on.
    pub to: String,
    /// How many there are.
    pub n: u64,
    /// Why.
    pub reason: String,
}

/// An access that was allowed and has no end: a crash has cut it off, or it still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenIntent {
    /// The stream of the intent.
    pub stream: String,
    /// Its number.
    pub seq: u64,
    /// What the completion would have named.
    pub call: u64,
}

/// Something that is known about a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamNote {
    /// The stream.
    pub stream: String,
    /// The number of the record.
    pub seq: u64,
    /// How many records, bytes or milliseconds.
    pub count: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong. Gaps, open intents, a torn tail and an unsigned one are told, and are
    /// not wrong by themselves.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// The first fault, in the order in which the streams began.
    #[must_use]
    pub fn first_fault(&self) -> Option<&Fault> {
        self.faults.first()
    }

    /// The first fault of each stream, and those after a hole.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many records hold.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many checkpoints hold.
    #[must_use]
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// How many seals of closed segments there are, and whether there was a key to verify them with.
    #[must_use]
    pub fn seals(&self) -> (u64, bool) {
        (self.seals, self.seals_verified)
    }

    /// How many `gap` records there are, and for how many events they stand.
    #[must_use]
    pub fn gaps(&self) -> (u64, u64) {
        (self.gaps, self.gap_events)
    }

    /// The first gaps.
    #[must_use]
    pub fn first_gaps(&self) -> &[GapNote] {
        &self.first_gaps
    }

    /// How many intents have no completion.
    #[must_use]
    pub fn open_intents(&self) -> u64 {
        self.open_intents
    }

    /// The first of them.
    #[must_use]
    pub fn first_open_intents(&self) -> &[OpenIntent] {
        &self.first_open_intents
    }

    /// Streams whose last records no checkpoint has signed: the last record that one has, and how many
    /// follow.
    #[must_use]
    pub fn unsigned(&self) -> &[StreamNote] {
        &self.unsigned
    }

    /// Streams whose last records were signed only by the stream after them, as after a crash: the last
    /// record that a checkpoint of their own has signed, and how many follow. Whoever can write the
    /// folder while no process runs can add such records.
    #[must_use]
    pub fn signed_late(&self) -> &[StreamNote] {
        &self.signed_late
    }

    /// Streams whose last line has no end: the number that its record would have, and its bytes.
    #[must_use]
    pub fn torn_tails(&self) -> &[StreamNote] {
        &self.torn_tails
    }

    /// What was removed.
    #[must_use]
    pub fn pruned(&self) -> &[PrunedNote] {
        &self.pruned
    }

    /// Files into which such lines were moved.
    #[must_use]
    pub fn torn_files(&self) -> &[String] {
        &self.torn_files
    }

    /// Records whose time is more than a second before that of the record before: how many there are,
    /// and the first of them, with the milliseconds.
    #[must_use]
    pub fn clock_steps(&self) -> (u64, &[StreamNote]) {
        (self.clock_steps_back, &self.first_clock_steps)
    }
}

/// Adds to a list that is bounded.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MOST_NOTES {
        list.push(item);
    }
}

/// For a person.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [] => writeln!(f, "whole: {} records hold", self.records)?,
            faults => {
                for fault in faults {
                    writeln!(f, "{fault}")?;
                }
                writeln!(f, "not whole: {} records hold", self.records)?;
            }
        }
        writeln!(f, "{} streams, {} segments", self.streams, self.segments)?;
        let signed = match self.signatures_verified {
            true => "signed by known keys",
            false => "signatures not verified: no key was given",
        };
        writeln!(f, "{} checkpoints in the trail, {signed}", self.checkpoints)?;
        writeln!(
            f,
            "{} checkpoints from elsewhere hold",
            self.external_checkpoints
        )?;
        match (self.seals, self.seals_verified) {
            (0, false) => {}
            (seals, true) => writeln!(f, "{seals} seals hold")?,
            (seals, false) => {
                writeln!(f, "{seals} seals, not verified: no sealing key was given")?;
            }
        }
        if self.pruned_streams > 0 {
            writeln!(f, "of {} streams records were removed", self.pruned_streams)?;
        }
        for note in &self.pruned {
            writeln!(
                f,
                "  stream {}, records to {}, the latest of {}: removed at {} with {} segments, {} to {} ({}:{})",
                note.stream,
                note.records,
                note.latest,
                note.at,
                note.segments,
                note.first,
                note.last,
                note.file,
                note.line
            )?;
        }
        if self.gaps > 0 {
            writeln!(
                f,
                "{} gaps: {} events are not in the trail",
                self.gaps, self.gap_events
            )?;
        }
        for gap in &self.first_gaps {
            let GapNote {
                stream,
                seq,
                from,
                to,
                n,
                reason,
            } = gap;
            writeln!(
                f,
                "  stream {stream}, record {seq}: {n} events from {from} to {to}: {reason}"
            )?;
        }
        if self.open_intents > 0 {
            writeln!(f, "{} accesses have no end", self.open_intents)?;
        }
        for OpenIntent { stream, seq, .. } in &self.first_open_intents {
            writeln!(f, "  stream {stream}, record {seq}")?;
        }
        for StreamNote { stream, seq, count } in &self.signed_late {
            writeln!(
                f,
                "stream {stream}: the {count} records after {seq} were signed only by the stream after it, as after a crash"
            )?;
        }
        for StreamNote { stream, seq, count } in &self.unsigned {
            writeln!(
                f,
                "stream {stream}: no checkpoint signs the {count} records after {seq}"
            )?;
        }
        for StreamNote { stream, seq, count } in &self.torn_tails {
            writeln!(
                f,
                "stream {stream}: record {seq} was cut off by a crash, after {count} bytes"
            )?;
        }
        for file in &self.torn_files {
            writeln!(f, "{file}: the rest of a line that a crash has cut off")?;
        }
        for StreamNote { stream, seq, count } in &self.first_clock_steps {
            writeln!(
                f,
                "stream {stream}, record {seq}: the clock went back by {count} ms"
            )?;
        }
        Ok(())
    }
}

const MOST_NOTES: usize = 1000;
