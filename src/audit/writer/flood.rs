//! Floods of refusals: past 100 in a second for one reason and caller they are counted, and one record
//! has the count.
//!
//! The requests only count, in cells that are there from the start. The request that goes past the
//! limit gives its record to the writers as the head of the flood; when the second is over, each writer
//! reads the count. So nothing here waits, allocates or grows.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of the last minute.
#[derive(Debug)]
pub(super) struct Flood {
    hasher: RandomState,
    /// The last is for what finds no place.
    slots: Box<[Slot]>,
    /// All that were past the limit.
    past: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// The hash of the reason and the caller that have it, and the last second in which they came: in
    /// one word, so that nobody takes it away in between.
    owner: AtomicU64,
    /// A second and a count, for each second of a minute.
    cells: [AtomicU64; CELLS],
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            owner: AtomicU64::new(0),
            cells: [const { AtomicU64::new(0) }; CELLS],
        }
    }
}

/// What is to be done with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admit {
    /// It gets its record.
    Alone,
    /// Its record is the head of a flood.
    Head(Head),
    /// It is counted.
    Counted,
}

/// Where the count of a flood is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Head {
    pub(super) slot: usize,
    pub(super) second: u64,
}

impl Head {
    /// Whether several reasons and callers share the count, because they found no place.
    pub(super) fn is_of_others(self) -> bool {
        self.slot == SLOTS
    }
}

impl Flood {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: (0..=SLOTS).map(|_| Slot::default()).collect(),
            past: AtomicU64::new(0),
        }
    }

    /// Counts a refusal for this reason and caller, in this second, which is 1 or more.
    pub(super) fn admit(&self, key: impl Hash, second: u64) -> Admit {
        let hash = self.hasher.hash_one(key);
        let index = self.place(hash, second);
        let Some(slot) = self.slots.get(index) else {
            return Admit::Alone;
        };
        let Some(cell) = slot.cell(second) else {
            return Admit::Alone;
        };
        let counted = |value: u64| match value >> COUNT_BITS {
            other if other != second => second << COUNT_BITS | 1,
            _ if value & MOST_COUNT == MOST_COUNT => value,
            _ => value + 1,
        };
        let update = |value| Some(counted(value));
        let before = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        let count = counted(before.unwrap_or_default()) & MOST_COUNT;
        let past = count.saturating_sub(ALONE);
        if past > 0 {
            // After the cell, so that what is counted here can be seen there.
            self.past.fetch_add(1, Ordering::Release);
        }
        match past {
            0 => Admit::Alone,
            1 => Admit::Head(Head {
                slot: index,
                second,
            }),
            _ => Admit::Counted,
        }
    }

    /// Of how many refusals past the limit the count is gone: all but those that were `read` and those
    /// of seconds after `until`. A thread that was stuck for more than a minute finds other seconds in
    /// the cells. While refusals are counted it may be too small, and never too large.
    pub(super) fn forgotten(&self, read: u64, until: u64) -> u64 {
        let past = self.past.load(Ordering::Acquire);
        let cells = self.slots.iter().flat_map(|slot| &slot.cells);
        let later: u64 = cells
            .map(|cell| cell.load(Ordering::Relaxed))
            .filter(|value| value >> COUNT_BITS > until)
            .map(|value| (value & MOST_COUNT).saturating_sub(ALONE))
            .sum();
        past.saturating_sub(read).saturating_sub(later)
    }

    /// The floods of a second that is over, and how many refusals each had past the limit.
    pub(super) fn ended(&self, second: u64) -> impl Iterator<Item = (Head, u64)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(slot, counts)| {
                let value = counts.cell(second)?.load(Ordering::Relaxed);
                let count = (value & MOST_COUNT).checked_sub(ALONE)?;
                (value >> COUNT_BITS == second && count > 0)
                    .then_some((Head { slot, second }, count))
            })
    }

    /// The slot of a key: its own, or one that has been quiet, or the last.
    fn place(&self, hash: u64, second: u64) -> usize {
        let first = usize::try_from(hash % SLOTS as u64).unwrap_or_default();
        for index in (first..first + TRIES).map(|index| index % SLOTS) {
            let Some(slot) = self.slots.get(index) else {
                break;
            };
            if slot.take(hash, second) {
                return index;
            }
        }
        SLOTS
    }
}

impl Slot {
    /// Takes it for this hash, if it has it already or the one that has it was quiet for a second.
    fn take(&self, hash: u64, second: u64) -> bool {
        let own = (hash | 1 << SECOND_BITS) & !MOST_SECOND;
        let now = second & MOST_SECOND;
        let taken = |owner: u64| {
            let (other, last) = (owner & !MOST_SECOND, owner & MOST_SECOND);
            let since = now.wrapping_sub(last) & MOST_SECOND;
            // A caller that has read the clock before another may come after it.
            let is_behind = since > MOST_SECOND - CELLS as u64;
            let is_quiet = owner == 0 || since >= 2 && !is_behind;
            match other == own {
                true if is_behind => Some(owner),
                true => Some(own | now),
                false => is_quiet.then_some(own | now),
            }
        };
        let order = Ordering::Relaxed;
        self.owner.fetch_update(order, order, taken).is_ok()
    }

    fn cell(&self, second: u64) -> Option<&AtomicU64> {
        let index = usize::try_from(second % CELLS as u64).ok()?;
        self.cells.get(index)
    }
}

/// So many refusals of a second get a record each.
pub(super) const ALONE: u64 = 100;
const SLOTS: usize = 256;
const TRIES: usize = 8;
/// Counts are kept for so many seconds.
pub(super) const CELLS: usize = 64;
const SECOND_BITS: u32 = 24;
const MOST_SECOND: u64 = (1 << SECOND_BITS) - 1;
const COUNT_BITS: u32 = 24;
const MOST_COUNT: u64 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_of_a_second_are_alone_and_the_rest_is_counted() {
        let flood = Flood::new();
        for second in [5, 6] {
            let admits: Vec<_> = (0..350).map(|_| flood.admit(("r", "p"), second)).collect();
            let count = |admit| admits.iter().filter(|other| **other == admit).count();
            assert_eq!((count(Admit::Alone), count(Admit::Counted)), (100, 249));
            let Admit::Head(head) = admits[100] else {
                panic!()
            };
            let ended: Vec<_> = flood.ended(second).collect();
            assert_eq!(ended, [(head, 250)]);
        }
        assert_eq!(flood.admit(("r", "q"), 6), Admit::Alone);
        assert_eq!(flood.ended(7).count(), 0);
    }

    #[test]
    fn any_number_of_callers_find_a_place_and_none_is_lost() {
        let flood = Flood::new();
        let (mut alone, mut heads) = (0, 0);
        let peers = 2000;
        for peer in 0..peers {
            for _ in 0..150 {
                match flood.admit(("r", &peer.to_string()), 9) {
                    Admit::Alone => alone += 1,
                    Admit::Head(_) => heads += 1,
                    Admit::Counted => {}
                }
            }
        }
        let ended: Vec<_> = flood.ended(9).collect();
        assert_eq!(ended.len(), heads);
        let counted: u64 = ended.iter().map(|(_, count)| count).sum();
        assert_eq!(alone + counted, 150 * peers);
    }
}
