//! How far a stream is proved, and where a pruned one goes on.

use std::collections::BTreeMap;

use crate::audit::proof::{Frontier, genesis};
use crate::audit::record::Removed;
use crate::audit::scalar::Hash;

/// A stream up to a record.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The hash of the last record.
    pub(super) head: Hash,
    pub(super) tree: Frontier,
    /// Up to this record, a checkpoint has proved it.
    pub(super) proved: u64,
}

impl State {
    pub(super) fn genesis(stream: &str) -> Self {
        Self {
            head: genesis(stream),
            tree: Frontier::default(),
            proved: 0,
        }
    }

    /// The state after the records that were removed.
    pub(super) fn after(removed: &Removed) -> Option<Self> {
        let tree = Frontier::from_parts(removed.old.size, removed.peaks.clone())?;
        Some(Self {
            head: removed.old.head,
            tree,
            proved: removed.old.size,
        })
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.tree.size() + 1
    }
}

/// What was removed of each stream, by records that hold.
#[derive(Debug, Default)]
pub(crate) struct Pruned(BTreeMap<String, Vec<Removed>>);

impl Pruned {
    pub(super) fn add(&mut self, removed: Removed) {
        let stream = removed.old.stream.clone();
        self.0.entry(stream).or_default().push(removed);
    }

    /// All that was removed of a stream, by one record or several.
    pub(crate) fn of(&self, stream: &str) -> &[Removed] {
        self.0.get(stream).map_or(&[], Vec::as_slice)
    }

    /// What was removed right before this record.
    pub(crate) fn before(&self, stream: &str, seq: u64) -> Option<&Removed> {
        let is_before = |removed: &&Removed| removed.old.size.checked_add(1) == Some(seq);
        self.of(stream).iter().find(is_before)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_known(&self, stream: &str) -> bool {
        self.0.contains_key(stream)
    }
}
