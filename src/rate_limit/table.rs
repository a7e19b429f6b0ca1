//! Token buckets by key, bounded in number.

use std::hint;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::bucket::{self, Bucket, CLAIMED, Rate, Taken, Tick};

/// One token bucket for each key, all of one rate, and for a bounded number of keys.
///
/// A key is a [keyed hash](super::key) of 64 bits. Each key may be in two sets of eight places; a
/// set is one cache line of keys and one of buckets, and is allocated when its first key comes. A
/// key that the table knows is found without a lock, and its token is taken by one compare and
/// swap.
///
/// A key whose bucket is full again may give its place to another: it loses nothing. If all places
/// that a new key may take belong to keys whose buckets are not full, the new key shares one bucket
/// of the same rate with all others that found no place. A caller who rotates values therefore
/// fills the table, but empties no bucket.
pub(crate) struct KeyTable {
    /// Made when the first key comes.
    sets: OnceLock<Box<[OnceLock<Box<Set>>]>>,
    set_count: usize,
    max_keys: usize,
    /// INVARIANT: no smaller than the number of places with a key.
    keys: AtomicUsize,
    /// Taken by the thread that adds a key, so that no key is added twice at once.
    turns: [AtomicBool; TURNS],
    overflow: Bucket,
}

/// Places of keys, and the states of their buckets. Key zero marks a place that was never used; its
/// state is zero, which is that of a full bucket.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    keys: [AtomicU64; WAYS],
    states: [AtomicU64; WAYS],
}

/// A place in a set.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    key: &'a AtomicU64,
    state: &'a AtomicU64,
}

/// The answer of a [`KeyTable`] to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) taken: Taken,
    /// Whether the key found no place and was judged by the bucket that such keys share.
    pub(crate) is_overflow: bool,
}

impl KeyTable {
    /// A table for so many keys, from one to [`MOST_KEYS`].
    pub(crate) fn new(max_keys: usize) -> Self {
        let max_keys = max_keys.clamp(1, MOST_KEYS);
        // Half of the places stay empty, so that two sets of a key are hardly ever full before the
        // table is.
        let set_count = max_keys.div_ceil(WAYS / 2).max(2);
        Self {
            sets: OnceLock::new(),
            set_count,
            max_keys,
            keys: AtomicUsize::new(0),
            turns: [const { AtomicBool::new(false) }; TURNS],
            overflow: Bucket::default(),
        }
    }

    /// Takes a token from the bucket of this key, which begins full.
    pub(crate) fn take(&self, key: u64, rate: &Rate, now: Tick) -> Answer {
        let key = key.max(1);
        if let Some(answer) = self.take_known(key, rate, now) {
            return answer;
        }
        self.take_new(key, rate, now)
    }

    /// How many keys have a place, with those whose bucket is full again.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed).min(self.max_keys)
    }

    /// `None` if the key has no place, or loses it to another at this moment.
    fn take_known(&self, key: u64, rate: &Rate, now: Tick) -> Option<Answer> {
        let place = self.find(key)?;
        let taken = bucket::take(place.state, rate, now)?;
        // Another key may have got the place since it was found. It stores itself before it opens
        // its bucket, so a state that it has opened comes with its key. It is then the poorer by
        // the token taken here, and this key is judged again.
        (place.key.load(Ordering::Acquire) == key).then_some(Answer {
            taken,
            is_overflow: false,
        })
    }

    #[cold]
    fn take_new(&self, key: u64, rate: &Rate, now: Tick) -> Answer {
        let is_placed = self.add(key, now);
        if is_placed && let Some(answer) = self.take_known(key, rate, now) {
            return answer;
        }
        Answer {
            taken: self.overflow.take(rate, now),
            is_overflow: true,
        }
    }

    /// Gives the key a place, unless it has one; `false` if there is none.
    fn add(&self, key: u64, now: Tick) -> bool {
        let Some(_turn) = self.turn(key) else {
            return false;
        };
        if self.find(key).is_some() {
            return true;
        }
        let [first, second] = self.sets_of(key);
        let new = || (0..self.set_count).map(|_| OnceLock::new()).collect();
        let sets = self.sets.get_or_init(new);
        let (Some(first), Some(second)) = (sets.get(first), sets.get(second)) else {
            return false;
        };
        self.add_in_empty(key, first, second)
            || [first, second]
                .into_iter()
                .filter_map(OnceLock::get)
                .any(|set| set.places().any(|place| place.claim(key, now)))
    }

    /// Gives the key a place that was never used, in the emptier of its two sets.
    fn add_in_empty(
        &self,
        key: u64,
        first: &OnceLock<Box<Set>>,
        second: &OnceLock<Box<Set>>,
    ) -> bool {
        let one_more = |keys: usize| (keys < self.max_keys).then_some(keys + 1);
        let order = Ordering::Relaxed;
        if self.keys.fetch_update(order, order, one_more).is_err() {
            return false;
        }
        let used = |set: &OnceLock<Box<Set>>| set.get().map_or(0, |set| set.used());
        let (used_first, used_second) = (used(first), used(second));
        // A set that is not half full is better than the memory of another.
        let [better, other] = match used_first < WAYS / 2 || used_first <= used_second {
            true => [first, second],
            false => [second, first],
        };
        let is_placed = [better, other].into_iter().any(|set| {
            let set = set.get_or_init(Box::default);
            set.places().any(|place| place.claim_empty(key))
        });
        if !is_placed {
            self.keys.fetch_sub(1, order);
        }
        is_placed
    }

    fn find(&self, key: u64) -> Option<Place<'_>> {
        let all = self.sets.get()?;
        let sets = self.sets_of(key).into_iter();
        let sets = sets.filter_map(|set| all.get(set)?.get());
        sets.flat_map(|set| set.places())
            .find(|place| place.key.load(Ordering::Acquire) == key)
    }

    /// The two sets that may hold a key: from its upper and from its lower half.
    fn sets_of(&self, key: u64) -> [usize; 2] {
        let count = self.set_count as u64;
        let pick = |half: u64| usize::try_from((half * count) >> 32).unwrap_or_default();
        [pick(key >> 32), pick(key & u64::from(u32::MAX))]
    }

    /// The right to add this key, for which threads that add the same key wait. The wait is short
    /// and bounded: it lasts as long as another thread compares some sixteen keys, or until that
    /// thread has lost its processor.
    fn turn(&self, key: u64) -> Option<Turn<'_>> {
        let turn = self.turns.get(usize::try_from(key % TURNS as u64).ok()?)?;
        for _ in 0..LONGEST_WAIT {
            let taken = turn.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                return Some(Turn(turn));
            }
            hint::spin_loop();
        }
        None
    }
}

debug_fields!(KeyTable(table) {
    max_keys = table.max_keys,
    keys = table.keys()
});

impl Set {
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let places = self.keys.iter().zip(&self.states);
        places.map(|(key, state)| Place { key, state })
    }

    fn used(&self) -> usize {
        let is_used = |key: &&AtomicU64| key.load(Ordering::Relaxed) != 0;
        self.keys.iter().filter(is_used).count()
    }
}

impl Place<'_> {
    fn claim_empty(self, key: u64) -> bool {
        self.key.load(Ordering::Acquire) == 0 && self.claim_from(0, 0, key)
    }

    /// Takes the place of a key whose bucket is full.
    fn claim(self, key: u64, now: Tick) -> bool {
        let before = self.key.load(Ordering::Acquire);
        let state = self.state.load(Ordering::Acquire);
        before != 0 && bucket::is_full(state, now) && self.claim_from(before, state, key)
    }

    /// Gives the place to a key, with a full bucket, if it still has this key and state. Meanwhile
    /// the state is [`CLAIMED`], so that no token is taken from the bucket of the key before.
    fn claim_from(self, before: u64, state: u64, key: u64) -> bool {
        let claimed =
            self.state
                .compare_exchange(state, CLAIMED, Ordering::AcqRel, Ordering::Relaxed);
        if claimed.is_err() {
            return false;
        }
        // INVARIANT: only the thread that has claimed the place stores to it.
        if self.key.load(Ordering::Acquire) != before {
            self.state.store(state, Ordering::Release);
            return false;
        }
        self.key.store(key, Ordering::Release);
        self.state.store(0, Ordering::Release);
        true
    }
}

/// The right of one thread to add certain keys.
#[derive(Debug)]
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Places of a set: their keys fill one cache line.
const WAYS: usize = 8;
/// The most keys of a table: four million, which take some 200 MB.
const MOST_KEYS: usize = 1 << 22;
/// How many groups of keys can each have a thread that adds one.
const TURNS: usize = 64;
const LONGEST_WAIT: usize = 1_000;

#[cfg(test)]
mod tests;
