//! Lists of numbers by text.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Numbers, ascending, by text.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    hasher: FixedState,
    slots: HashTable<(Box<[u8]>, Vec<u32>)>,
}

impl Texts {
    /// Adds a number, greater than all before, to a text's list.
    pub(super) fn add(&mut self, text: &[u8], number: u32) {
        let hash = hash_of(&self.hasher, text);
        match self.slots.find_mut(hash, |(of_slot, _)| **of_slot == *text) {
            Some((_, numbers)) => numbers.push(number),
            None => {
                let slot = (text.into(), vec![number]);
                let hasher = &self.hasher;
                self.slots
                    .insert_unique(hash, slot, |(text, _)| hash_of(hasher, text));
            }
        }
    }

    /// The list of a text.
    pub(super) fn get(&self, text: &[u8]) -> &[u32] {
        let hash = hash_of(&self.hasher, text);
        let slot = self.slots.find(hash, |(of_slot, _)| **of_slot == *text);
        slot.map_or(&[], |(_, numbers)| numbers)
    }

    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

fn hash_of(hasher: &FixedState, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text);
    hasher.finish()
}
