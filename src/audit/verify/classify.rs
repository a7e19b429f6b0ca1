//! Says what is wrong with a record that does not follow the one before.

use std::io;
use std::path::Path;

use super::fault::FaultKind;
use super::state::State;
use super::walk::{Spot, Walk};
use crate::audit::proof::{Checkpoint, PublicKeys, record_hash};
use crate::audit::record::Entry;
use crate::audit::scalar::{Hash, hex_of};
use crate::audit::store::Name;

/// What is wrong.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) kind: FaultKind,
    pub(super) seq: u64,
    pub(super) to: Option<u64>,
    pub(super) what: String,
}

impl Bad {
    pub(super) fn new(kind: FaultKind, seq: u64, what: String) -> Self {
        Self {
            kind,
            seq,
            to: None,
            what,
        }
    }
}

/// What the other lines of the stream say about a bad one.
#[derive(Debug, Default)]
struct Facts {
    /// The line right after it.
    next: Option<Known>,
    /// The record that should be here comes later.
    comes_later: bool,
    /// The same line came before.
    is_twin: bool,
    /// A line before has the same number and follows the same record.
    is_rival: bool,
}

#[derive(Debug)]
struct Known {
    seq: u64,
    prev: Hash,
}

/// Reads the stream once more to tell what has happened to a record that does not follow.
pub(super) fn classify(
    folder: &Path,
    names: &[Name],
    spot: &Spot<'_>,
    entry: &Entry<'_>,
    state: &State,
    keys: &PublicKeys,
) -> io::Result<Bad> {
    let hash = record_hash(spot.line.bytes);
    let facts = facts(folder, names, spot, entry, state, hash)?;
    let (expected, seq, last) = (state.next(), entry.seq(), state.size);
    let continues = *entry.prev() == state.head;
    let is_own = names
        .first()
        .is_some_and(|name| name.stream == entry.stream());
    let bad = |kind, seq, what: String| Ok(Bad::new(kind, seq, what));
    if continues {
        let what = "its number or stream was changed: it follows the record before".to_owned();
        return bad(FaultKind::Edited, expected, what);
    }
    if !is_own {
        let what = format!("here is record {seq} of stream {}", entry.stream());
        return bad(FaultKind::Spliced, expected, what);
    }
    if seq > expected {
        if facts.comes_later {
            let what = format!("here is record {seq}, and record {expected} comes later");
            return bad(FaultKind::Reordered, expected, what);
        }
        let mut bad = Bad::new(
            FaultKind::Missing,
            expected,
            format!("here is record {seq}, and record {expected} is nowhere"),
        );
        bad.to = Some(seq - 1).filter(|to| *to > expected);
        return Ok(bad);
    }
    if seq < expected {
        if facts.is_twin {
            return bad(
                FaultKind::Duplicated,
                seq,
                "it is there a second time".to_owned(),
            );
        }
        if facts.is_rival && seq == last {
            let what = "two records follow the one before".to_owned();
            return bad(FaultKind::Inserted, seq, what);
        }
        if facts.is_rival {
            let what = format!(
                "here the stream goes on a second time after record {}",
                seq - 1
            );
            return bad(FaultKind::Forked, seq, what);
        }
        let what = format!("here should be record {expected}");
        return bad(FaultKind::Reordered, seq, what);
    }
    // The number is right, and the hash of the record before is not what this one holds.
    if let Some(next) = &facts.next
        && next.seq == expected
        && next.prev == state.head
    {
        let what = "it follows no record, and the record of this number comes after it".to_owned();
        return bad(FaultKind::Inserted, expected, what);
    }
    if state.proved == last && facts.next.as_ref().is_some_and(|next| next.prev == hash) {
        let what = "other records follow than those before the checkpoint".to_owned();
        return bad(FaultKind::Forked, expected, what);
    }
    let is_own_prev = holds_with(entry, &state.head, facts.next.as_ref())
        || state.proved == last
        || signs(entry, state, keys);
    if is_own_prev {
        let what = "its hash of the record before was changed".to_owned();
        return bad(FaultKind::Edited, expected, what);
    }
    let what = format!("its hash is not what record {expected} holds");
    bad(FaultKind::Edited, last, what)
}

/// Whether the next record would follow this one if it held the right hash.
fn holds_with(entry: &Entry<'_>, head: &Hash, next: Option<&Known>) -> bool {
    let Some(next) = next else { return false };
    let (found, right) = (hex_of(entry.prev()), hex_of(head));
    let line = entry.as_str().replacen(&found, &right, 1);
    record_hash(line.as_bytes()) == next.prev
}

/// Whether this is a checkpoint about the records before as they are.
fn signs(entry: &Entry<'_>, state: &State, keys: &PublicKeys) -> bool {
    let note = entry.text("note").filter(|_| entry.kind() == "checkpoint");
    let checkpoint = note.and_then(|note| Checkpoint::parse(&note).ok());
    checkpoint.is_some_and(|checkpoint| {
        state.is_signed_by(&checkpoint) && (keys.is_empty() || checkpoint.judge(keys).is_ok())
    })
}

fn facts(
    folder: &Path,
    names: &[Name],
    bad: &Spot<'_>,
    entry: &Entry<'_>,
    state: &State,
    hash: Hash,
) -> io::Result<Facts> {
    let mut facts = Facts::default();
    let mut walk = Walk::new(folder, names);
    let mut is_next = false;
    while let Some(spot) = walk.next()? {
        let place = (spot.file, spot.line.number);
        let bad = (bad.file, bad.line.number);
        let Ok(other) = Entry::parse(spot.line.bytes) else {
            is_next = place == bad;
            continue;
        };
        let (seq, prev) = (other.seq(), *other.prev());
        if is_next {
            facts.next = Some(Known { seq, prev });
        }
        is_next = place == bad;
        if place > bad {
            facts.comes_later |= seq == state.next() && prev == state.head;
        } else if place < bad && seq == entry.seq() {
            facts.is_twin |= record_hash(spot.line.bytes) == hash;
            facts.is_rival |= prev == *entry.prev();
        }
    }
    Ok(facts)
}
