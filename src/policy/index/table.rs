use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::cover::Key;
use super::dimension::KeyKind;
use super::rules::{part, position};

/// Every text that rules are posted under, found by hash.
#[derive(Debug, Default)]
pub(super) struct TextTable {
    hasher: FixedState,
    slots: HashTable<Slot>,
    texts: Vec<u8>,
}

/// One text of one dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The text's number.
    pub(super) atom: u32,
    dimension: u16,
    kind: KeyKind,
    start: u32,
    length: u32,
}

impl TextTable {
    /// Makes room for that many texts.
    pub(super) fn with_capacity(texts: usize) -> Self {
        Self {
            slots: HashTable::with_capacity(texts),
            ..Self::default()
        }
    }

    /// The number of a text, which is added if it is new.
    pub(super) fn intern(&mut self, dimension: u16, key: &Key<'_>) -> u32 {
        if let Some(atom) = self.find(dimension, key.kind, &key.text) {
            return atom;
        }
        let slot = Slot {
            atom: position(self.slots.len()),
            dimension,
            kind: key.kind,
            start: position(self.texts.len()),
            length: position(key.text.len()),
        };
        self.texts.extend_from_slice(&key.text);
        let hash = self.hash(dimension, key.kind, &key.text);
        let (hasher, texts) = (&self.hasher, &self.texts);
        self.slots.insert_unique(hash, slot, |slot| {
            hash_of(hasher, slot.dimension, slot.kind, text_of(texts, slot))
        });
        slot.atom
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of a text.
    pub(super) fn find(&self, dimension: u16, kind: KeyKind, text: &[u8]) -> Option<u32> {
        let hash = self.hash(dimension, kind, text);
        let found = self.slots.find(hash, |slot| {
            slot.dimension == dimension && slot.kind == kind && text_of(&self.texts, slot) == text
        });
        found.map(|slot| slot.atom)
    }

    fn hash(&self, dimension: u16, kind: KeyKind, text: &[u8]) -> u64 {
        hash_of(&self.hasher, dimension, kind, text)
    }
}

fn text_of<'a>(texts: &'a [u8], slot: &Slot) -> &'a [u8] {
    part(texts, slot.start, slot.length)
}

fn hash_of(hasher: &FixedState, dimension: u16, kind: KeyKind, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(u32::from(dimension) << 8 | kind as u32);
    hasher.write(text);
    hasher.finish()
}

/// Lists of rules, end to end.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// Where the list of each text starts; one more at the end.
    starts: Vec<u32>,
    rules: Vec<u32>,
}

impl Postings {
    /// Sorts pairs of list and rule into lists.
    pub(super) fn new(lists: usize, mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = Vec::with_capacity(lists + 1);
        let mut rest = pairs.as_slice();
        for list in 0..=position(lists) {
            let before = rest.iter().take_while(|(of, _)| *of < list).count();
            rest = rest.get(before..).unwrap_or_default();
            starts.push(position(pairs.len() - rest.len()));
        }
        Self {
            starts,
            rules: pairs.into_iter().map(|(_, rule)| rule).collect(),
        }
    }

    /// The rules of a list.
    pub(super) fn get(&self, list: u32) -> &[u32] {
        let (start, end) = match self.starts.get(list as usize..) {
            Some([start, end, ..]) => (*start as usize, *end as usize),
            _ => return &[],
        };
        self.rules.get(start..end).unwrap_or_default()
    }
}
