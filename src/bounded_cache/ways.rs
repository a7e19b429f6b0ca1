use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::weight::Weigh;

/// The most entries of one set.
const WAYS: usize = 16;
/// How many slots are searched for an entry to drop when there is no room.
const SWEEP: usize = 256;

/// A cache, bounded in entries and in bytes, that is read without locks and without waiting.
///
/// An entry is looked up in one set of 16 ways, by a hash. The tags of a set fill one cache line;
/// the way to try first is known from the hash, so that the processor fetches tag and slot at once.
/// A look-up reads these two lines and the entry. Two keys may have one hash: the caller compares
/// all of the key.
///
/// When a set or the room is full, a new entry replaces an old one, in turn.
pub(crate) struct BoundedCache<E> {
    hasher: SeedableRandomState,
    tags: Box<[Tags]>,
    slots: Slots<E>,
    /// How many ways of each set are used: fewer than 16 in a cache for fewer entries.
    ways: usize,
    next: AtomicUsize,
    max_weight: usize,
    /// INVARIANT: the sum of the weights of all entries in `slots`, and of those about to be there.
    weight: AtomicUsize,
    len: AtomicUsize,
    /// Where the last sweep for room ended.
    hand: AtomicUsize,
}

/// The tags of one set, in one cache line. Zero marks a way that was never used.
#[derive(Default)]
#[repr(align(64))]
struct Tags([AtomicU32; WAYS]);

type Slots<E> = Box<[[ArcSwapOption<E>; WAYS]]>;

/// Where an entry is kept: its set, and its tag within the set.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    set: usize,
    tag: u32,
}

/// What a look at an entry has found.
pub(crate) enum Look<T> {
    /// Another key's.
    Other,
    /// What was looked for.
    Found(T),
    /// The entry of the key, whose time is over: it is dropped.
    Spent,
}

impl<E: Weigh> BoundedCache<E> {
    /// A cache for so many entries and so many bytes. Its own tables take 12 bytes for each entry,
    /// and are not counted.
    pub(crate) fn new(max_entries: usize, max_weight: usize) -> Self {
        // Random keys of the standard library are the seed, so that clients cannot choose a set.
        let seed = RandomState::new().build_hasher().finish();
        let ways = max_entries.clamp(1, WAYS);
        let sets = (max_entries / ways).clamp(1, u32::MAX as usize);
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            tags: (0..sets).map(|_| Default::default()).collect(),
            slots: (0..sets).map(|_| Default::default()).collect(),
            ways,
            next: AtomicUsize::new(0),
            max_weight,
            weight: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// How many entries there are. Some may be outdated.
    #[cfg(any(feature = "external", test))]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// How many bytes the entries take.
    #[cfg(any(feature = "external", test))]
    pub(crate) fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// Where entries with these bytes in their key are kept.
    pub(crate) fn spot(&self, bytes: &[u8]) -> Spot {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        let [a, b, c, d, high @ ..] = hasher.finish().to_le_bytes();
        let set = (u64::from(u32::from_le_bytes(high)) * self.tags.len() as u64) >> 32;
        Spot {
            set: usize::try_from(set).unwrap_or_default(),
            tag: u32::from_le_bytes([a, b, c, d]).max(1),
        }
    }

    /// Shows the entries that may have the key, until one is found.
    pub(crate) fn get<T>(&self, spot: Spot, mut look: impl FnMut(&E) -> Look<T>) -> Option<T> {
        let tags = self.tags.get(spot.set)?;
        let slots = self.slots.get(spot.set)?;
        for way in self.ways(spot) {
            if tags.0.get(way)?.load(Ordering::Relaxed) != spot.tag {
                continue;
            }
            let slot = slots.get(way)?;
            let kept = slot.load();
            match kept.as_deref().map(&mut look) {
                Some(Look::Found(found)) => return Some(found),
                Some(Look::Spent) => self.forget(slot, &kept),
                Some(Look::Other) | None => {}
            }
        }
        None
    }

    /// Keeps an entry: in a free way of its set, or in place of another one. Every entry of the set
    /// which `is_spent` (outdated, or of the same key) is dropped before: also an older one of the
    /// same key must not be found again. Does not keep an entry for which there is no room.
    pub(crate) fn put(&self, spot: Spot, entry: E, is_spent: impl Fn(&E) -> bool) {
        let (Some(tags), Some(slots)) = (self.tags.get(spot.set), self.slots.get(spot.set)) else {
            return;
        };
        let was_used = |way: usize| {
            let tag = tags.0.get(way);
            tag.is_some_and(|tag| tag.load(Ordering::Relaxed) != 0)
        };
        for slot in slots {
            let kept = slot.load();
            if kept.as_deref().is_some_and(&is_spent) {
                self.forget(slot, &kept);
            }
        }
        let is_free = |way: &usize| {
            let slot = slots.get(*way);
            !was_used(*way) || slot.is_some_and(|slot| slot.load().is_none())
        };
        let way = self
            .ways(spot)
            .find(is_free)
            .unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % self.ways);
        if let (Some(tag), Some(slot)) = (tags.0.get(way), slots.get(way)) {
            if was_used(way) && slot.load().is_some() {
                self.release(slot.swap(None));
            }
            if !self.reserve(entry.weight()) {
                return;
            }
            self.release(slot.swap(Some(Arc::new(entry))));
            // A reader that sees the old tag misses; one that sees the new tag with the old entry
            // compares the keys and misses.
            tag.store(spot.tag, Ordering::Relaxed);
        }
    }

    /// Makes room by dropping the entries that come next in turn.
    fn reserve(&self, weight: usize) -> bool {
        let add = |total: usize| {
            let total = total.checked_add(weight)?;
            (total <= self.max_weight).then_some(total)
        };
        for _ in 0..=SWEEP {
            let reserved = self
                .weight
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            if reserved.is_ok() {
                self.len.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            let turn = self.hand.fetch_add(1, Ordering::Relaxed) % (self.tags.len() * WAYS);
            let set = self.slots.get(turn / WAYS);
            if let Some(slot) = set.and_then(|set| set.get(turn % WAYS))
                && slot.load().is_some()
            {
                self.release(slot.swap(None));
            }
        }
        false
    }

    /// Removes an entry, unless another has replaced it.
    fn forget(&self, slot: &ArcSwapOption<E>, kept: &Guard<Option<Arc<E>>>) {
        let found = slot.compare_and_swap(kept, None);
        if let (Some(found), Some(kept)) = (&*found, &**kept)
            && Arc::ptr_eq(found, kept)
        {
            self.release(Some(Arc::clone(found)));
        }
    }

    /// Subtracts the weight of a removed entry.
    fn release(&self, entry: Option<Arc<E>>) {
        if let Some(entry) = entry {
            self.weight.fetch_sub(entry.weight(), Ordering::Relaxed);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The ways of a set, beginning with the one that the entry most likely has.
    fn ways(&self, spot: Spot) -> impl Iterator<Item = usize> {
        let [first, ..] = spot.tag.to_le_bytes();
        let all = (0..WAYS).map(move |step| (usize::from(first) + step) % WAYS);
        all.filter(|way| *way < self.ways)
    }

    /// The weights of all entries, added up.
    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        let slots = self.slots.iter().flatten();
        let kept = slots.filter_map(ArcSwapOption::load_full);
        kept.map(|entry| entry.weight()).sum()
    }
}

// Nothing of what it holds.
debug_fields!(BoundedCache<E> {});

#[cfg(test)]
mod tests {
    use super::*;

    /// A key, and which of its entries this is.
    struct Item(u32, u32);

    impl Weigh for Item {
        fn weight(&self) -> usize {
            1
        }
    }

    /// An older entry of a key is gone when a newer one is kept, wherever each of them is.
    #[test]
    fn a_key_has_one_entry() {
        for key in 100..200_u32 {
            // One set, so that all entries meet.
            let cache = BoundedCache::new(WAYS, 1_000);
            let spot = |key: u32| cache.spot(&key.to_be_bytes());
            let put = |key: u32, version: u32| {
                cache.put(spot(key), Item(key, version), |item| item.0 == key);
            };
            (0..15).for_each(|other| put(other, 0));
            put(key, 1);
            for other in 0..15 {
                let _: Option<()> = cache.get(spot(other), |item| match item.0 == other {
                    true => Look::Spent,
                    false => Look::Other,
                });
            }
            put(key, 2);
            let mut found = Vec::new();
            let _: Option<()> = cache.get(spot(key), |item| {
                found.push(item.1);
                Look::Other
            });
            assert_eq!(found, [2], "{key}");
            assert_eq!((cache.len(), cache.weight()), (1, cache.total()));
        }
    }
}
