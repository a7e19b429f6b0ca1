//! How far a stream is proved, and where a pruned one goes on.

use std::collections::BTreeMap;

use crate::audit::proof::{Checkpoint, Frontier, genesis};
use crate::audit::record::{Entry, OldStream, Removed};
use crate::audit::scalar::Hash;
use crate::audit::store::Name;

/// A stream up to a record.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The hash of the last record.
    pub(super) head: Hash,
    /// The number of the last record.
    pub(super) size: u64,
    /// None after a hole: the records in it would be needed for the roots.
    tree: Option<Frontier>,
    /// Up to this record, a checkpoint has proved it.
    pub(super) proved: u64,
}

impl State {
    pub(super) fn genesis(stream: &str) -> Self {
        Self {
            head: genesis(stream),
            size: 0,
            tree: Some(Frontier::default()),
            proved: 0,
        }
    }

    /// The state after the records that were removed.
    pub(super) fn after(removed: &Removed) -> Option<Self> {
        let tree = Frontier::from_parts(removed.old.size, removed.peaks.clone())?;
        Some(Self {
            head: removed.old.head,
            size: removed.old.size,
            tree: Some(tree),
            proved: removed.old.size,
        })
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.size + 1
    }

    /// Adds the record that follows.
    pub(super) fn push(&mut self, record: &[u8], hash: Hash) {
        self.head = hash;
        self.size += 1;
        if let Some(tree) = &mut self.tree {
            tree.push(record);
        }
    }

    /// Passes over a hole, to right before this record.
    pub(super) fn skip_to(&mut self, entry: &Entry<'_>) {
        self.head = *entry.prev();
        self.size = entry.seq().saturating_sub(1);
        self.tree = None;
    }

    /// Whether the checkpoint is about the records up to here. Without the tree, the hash of the last
    /// one is enough: it depends on all before.
    pub(super) fn is_signed_by(&self, checkpoint: &Checkpoint) -> bool {
        let has_root = |tree: &Frontier| tree.root() == *checkpoint.root();
        *checkpoint.head() == self.head && self.tree.as_ref().is_none_or(has_root)
    }
}

/// A file, and the line in it.
pub(super) type Place = (String, u64);

/// How a stream begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Its first record was not seen.
    Unknown,
    /// Its first records were removed.
    Removed,
    /// It follows none.
    First,
    After(OldStream),
}

/// What was removed of each stream, by records that hold.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    streams: BTreeMap<String, Vec<Removed>>,
    /// Where it is told first.
    places: BTreeMap<String, Place>,
}

impl Pruned {
    pub(super) fn add(&mut self, removed: Removed, place: Place) {
        let stream = removed.old.stream.clone();
        self.places.entry(stream.clone()).or_insert(place);
        self.streams.entry(stream).or_default().push(removed);
    }

    /// All that was removed of a stream, by one record or several.
    pub(crate) fn of(&self, stream: &str) -> &[Removed] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Whether the file has a name that none of the removed stream's files had: it is a copy.
    pub(super) fn is_elsewhere(&self, name: &Name) -> bool {
        let first = self.of(&name.stream).first();
        let first = first.and_then(|removed| Name::parse(&removed.first));
        first.is_some_and(|first| first.began != name.began)
    }

    /// What was removed right before this record.
    pub(crate) fn before(&self, stream: &str, seq: u64) -> Option<&Removed> {
        let is_before = |removed: &&Removed| removed.old.size.checked_add(1) == Some(seq);
        self.of(stream).iter().find(is_before)
    }

    /// Whether so many records of the stream were removed, or more: those that are still there are
    /// what a crash has left of the removal.
    pub(super) fn covers(&self, stream: &str, size: u64) -> bool {
        self.of(stream)
            .iter()
            .any(|removed| removed.old.size >= size)
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// The streams of which records were removed.
    pub(super) fn streams(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    /// What the `start` of a stream named that was removed.
    pub(super) fn begin(&self, stream: &str) -> Begin {
        let follows = |removed: &Removed| removed.follows.clone();
        let follows = self.of(stream).iter().find_map(follows);
        follows.map_or(Begin::First, Begin::After)
    }

    pub(super) fn place(&self, stream: &str) -> Place {
        self.places.get(stream).cloned().unwrap_or_default()
    }
}
