use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

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

/// What becomes of an entry when a new one is put into its set.
pub(crate) enum Standing {
    /// Another key's, which still counts. It may be replaced if the set is full.
    Stays,
    /// Outdated, or an older one of the same key: it is dropped.
    Goes,
    /// A newer one of the same key: the new one is not kept.
    #[cfg_attr(
        not(feature = "external"),
        allow(dead_code, reason = "tokens seen before have no older ones")
    )]
    Wins,
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

    /// Keeps an entry: in a free way of its set, or in place of another one. `judge` says of each
    /// entry of the set whether the new one may take its place: also an older one of the same key
    /// must not be found again. Does not keep an entry for which there is no room, nor one that
    /// loses against another.
    ///
    /// Puts of one key may run at once. Each decides about the very entry that it replaces: if
    /// another put was faster, it decides again. Two puts that have taken two ways meet in the
    /// second look at the set, which at least one of them has when both entries are there. So the
    /// newest entry stays in any case; of two that go for each other, neither may stay.
    pub(crate) fn put(&self, spot: Spot, entry: E, judge: impl Fn(&E) -> Standing) {
        let (Some(tags), Some(slots)) = (self.tags.get(spot.set), self.slots.get(spot.set)) else {
            return;
        };
        let entry = Arc::new(entry);
        let mut has_room = false;
        while self.clear(slots, &entry, &judge) {
            let way = self.way_for_new(spot, slots);
            let (Some(tag), Some(slot)) = (tags.0.get(way), slots.get(way)) else {
                break;
            };
            if !self.vacate(slot, &judge) {
                break;
            }
            has_room = has_room || self.reserve(entry.weight());
            if !has_room {
                return;
            }
            if !fill(slot, &entry) {
                continue;
            }
            // A reader that sees the old tag misses; one that sees the new tag with the old entry
            // compares the keys and misses.
            tag.store(spot.tag, Ordering::Relaxed);
            // Of two puts that have filled two ways, one at least sees the other's entry now.
            fence(Ordering::SeqCst);
            if !self.clear(slots, &entry, &judge) {
                self.withdraw(slot, &entry);
            }
            return;
        }
        if has_room {
            self.release(Some(entry));
        }
    }

    /// Drops the entries of a set that go for a new one. `false` if one wins against it.
    fn clear(
        &self,
        slots: &[ArcSwapOption<E>; WAYS],
        new: &Arc<E>,
        judge: &impl Fn(&E) -> Standing,
    ) -> bool {
        for slot in slots {
            let kept = slot.load();
            let other = kept.as_ref().filter(|kept| !Arc::ptr_eq(kept, new));
            match other.map(|other| judge(other)) {
                Some(Standing::Wins) => return false,
                Some(Standing::Goes) => self.forget(slot, &kept),
                Some(Standing::Stays) | None => {}
            }
        }
        true
    }

    /// The way for a new entry: a free one, or the next in turn.
    fn way_for_new(&self, spot: Spot, slots: &[ArcSwapOption<E>; WAYS]) -> usize {
        let is_free = |way: &usize| slots.get(*way).is_some_and(|slot| slot.load().is_none());
        let free = self.ways(spot).find(is_free);
        free.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % self.ways)
    }

    /// Drops the entry of a slot, unless it wins against the new one: then `false`.
    fn vacate(&self, slot: &ArcSwapOption<E>, judge: &impl Fn(&E) -> Standing) -> bool {
        let kept = slot.load();
        match kept.as_deref().map(judge) {
            Some(Standing::Wins) => return false,
            Some(Standing::Goes | Standing::Stays) => self.forget(slot, &kept),
            None => {}
        }
        true
    }

    /// Takes an entry back, if it is still there.
    fn withdraw(&self, slot: &ArcSwapOption<E>, entry: &Arc<E>) {
        let kept = slot.load();
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, entry)) {
            self.forget(slot, &kept);
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

/// Puts an entry into a slot that is empty. `false` if it is not, by now.
fn fill<E>(slot: &ArcSwapOption<E>, entry: &Arc<E>) -> bool {
    let kept = slot.load();
    kept.is_none()
        && slot
            .compare_and_swap(&kept, Some(Arc::clone(entry)))
            .is_none()
}

// Nothing of what it holds.
debug_fields!(BoundedCache<E> {});

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

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
                cache.put(spot(key), Item(key, version), |item| match item.0 == key {
                    true => Standing::Goes,
                    false => Standing::Stays,
                });
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

    /// Puts a version, unless a later one is there.
    fn put_newer(cache: &BoundedCache<Item>, spot: Spot, key: u32, version: u32) {
        cache.put(spot, Item(key, version), |item| {
            if item.0 != key {
                Standing::Stays
            } else if item.1 > version {
                Standing::Wins
            } else {
                Standing::Goes
            }
        });
    }

    fn versions(cache: &BoundedCache<Item>, spot: Spot, key: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let _: Option<()> = cache.get(spot, |item| {
            found.extend((item.0 == key).then_some(item.1));
            Look::Other
        });
        found
    }

    #[test]
    fn an_older_entry_does_not_replace_a_newer_one() {
        for ways in [1, WAYS] {
            let cache = BoundedCache::new(ways, 1_000);
            let spot = cache.spot(b"key");
            for (put, kept) in [(2, 2), (1, 2), (2, 2), (3, 3), (0, 3)] {
                put_newer(&cache, spot, 7, put);
                assert_eq!(versions(&cache, spot, 7), [kept], "{put}");
                assert_eq!((cache.len(), cache.weight()), (1, 1));
            }
        }
    }

    /// Two keep entries of one key at once, in a set that others fill, too.
    #[test]
    fn the_newest_entry_stays_when_many_are_put_at_once() {
        const ROUNDS: u32 = 20_000;
        let cache = BoundedCache::new(WAYS, 1_000);
        let spot = cache.spot(b"key");
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            for thread in 0..2_u32 {
                let (cache, barrier) = (&cache, &barrier);
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        barrier.wait();
                        // The later version is now the one thread's, now the other's.
                        let version = 2 * round + (thread + round) % 2;
                        put_newer(cache, spot, 7, version);
                        barrier.wait();
                        assert_eq!(versions(cache, spot, 7), [2 * round + 1]);
                        assert_eq!((cache.len(), cache.weight()), (1, cache.total()));
                    }
                });
            }
        });
    }
}
