//! Remembers good tokens (rule J-28): verifying a signature takes 15 to 40 µs, finding a token here
//! some 100 ns.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::token::Window;
use super::weight::{self, Weigh};

/// Longer tokens are verified each time.
const MAX_TOKEN: usize = 4 << 10;
/// The most heap bytes that all entries may take, and one entry with its claims.
const MAX_WEIGHT: usize = 32 << 20;
const MAX_ENTRY: usize = 64 << 10;
/// How many bytes at a token's end choose its set and way. They are part of the signature.
const TAIL: usize = 16;
const WAYS: usize = 16;
/// 16 ways each: 9,984 tokens in all.
const SETS: usize = 624;
/// How many slots are searched for an entry to drop when there is no room.
const SWEEP: usize = 256;

/// A cache, bounded in tokens and in bytes, that is read without locks and without waiting. It
/// finds a token only if every byte is equal.
///
/// A token is looked up in one set of 16 ways, by a hash of its last bytes. The tags of a set fill
/// one cache line; the way to try first is known from the hash, so that the processor fetches tag
/// and slot at once. A look-up reads these two lines, the entry and the token's text. Whoever sends
/// many texts with one end, which only variants of a good signature can have, fills one set.
///
/// It belongs to one generation of the rules and dies with it.
pub(crate) struct SeenTokens<V> {
    hasher: SeedableRandomState,
    tags: Box<[Tags]>,
    slots: Slots<V>,
    next: AtomicUsize,
    /// INVARIANT: the sum of the weights of all entries in `slots`, and of those about to be there.
    weight: AtomicUsize,
    /// Where the last sweep for room ended.
    hand: AtomicUsize,
}

/// The tags of one set, in one cache line. Zero marks a way that was never used.
#[derive(Default)]
#[repr(align(64))]
struct Tags([AtomicU32; WAYS]);

type Slots<V> = Box<[[ArcSwapOption<Entry<V>>; WAYS]]>;

/// Where a token is kept: its set, and its tag within the set.
#[derive(Clone, Copy)]
struct Spot {
    set: usize,
    tag: u32,
}

struct Entry<V> {
    token: Box<[u8]>,
    key: EntryKey,
    window: Window,
    value: V,
    weight: usize,
}

/// The circumstances under which a token was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryKey {
    pub(crate) rule: usize,
    /// The generation of the rule's keys.
    pub(crate) keys: u64,
    pub(crate) strict: bool,
}

impl<V: Clone + Weigh> SeenTokens<V> {
    pub(crate) fn new() -> Self {
        // Random keys of the standard library are the seed, so that clients cannot choose a set.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            tags: (0..SETS).map(|_| Default::default()).collect(),
            slots: (0..SETS).map(|_| Default::default()).collect(),
            next: AtomicUsize::new(0),
            weight: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// The value of this token, if it is still valid. Drops an outdated entry: if the clock goes
    /// back, the token is verified again.
    pub(crate) fn get(&self, token: &[u8], key: EntryKey, now: f64) -> Option<V> {
        let spot = self.spot(token);
        let tags = self.tags.get(spot.set)?;
        let slots = self.slots.get(spot.set)?;
        for way in spot.ways() {
            if tags.0.get(way)?.load(Ordering::Relaxed) != spot.tag {
                continue;
            }
            let slot = slots.get(way)?;
            let kept = slot.load();
            if let Some(entry) = kept.as_deref()
                && entry.key == key
                && *entry.token == *token
            {
                if entry.window.contains(now) {
                    return Some(entry.value.clone());
                }
                self.forget(slot, &kept);
            }
        }
        None
    }

    /// Keeps a good token: in its old way, in a free or outdated way of its set, or in place of
    /// another token. Does not keep one that takes too much room.
    pub(crate) fn put(&self, token: &[u8], key: EntryKey, window: Window, now: f64, value: V) {
        if token.len() > MAX_TOKEN {
            return;
        }
        let own = size_of::<Entry<V>>() + 2 * size_of::<usize>() + weight::CHUNK;
        let weight = own + weight::bytes(token.len()) + value.weight();
        if weight > MAX_ENTRY {
            return;
        }
        let spot = self.spot(token);
        let (Some(tags), Some(slots)) = (self.tags.get(spot.set), self.slots.get(spot.set)) else {
            return;
        };
        let is_spent = |slot: &ArcSwapOption<Entry<V>>| {
            slot.load().as_deref().is_none_or(|entry| {
                !entry.window.contains(now)
                    || (entry.key.rule == key.rule
                        && (entry.key.keys != key.keys || *entry.token == *token))
            })
        };
        let was_used = |way: usize| {
            let tag = tags.0.get(way);
            tag.is_some_and(|tag| tag.load(Ordering::Relaxed) != 0)
        };
        let way = spot
            .ways()
            .find(|way| !was_used(*way) || slots.get(*way).is_some_and(is_spent))
            .unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % WAYS);
        if let (Some(tag), Some(slot)) = (tags.0.get(way), slots.get(way)) {
            if was_used(way) && slot.load().is_some() {
                self.release(slot.swap(None));
            }
            if !self.reserve(weight) {
                return;
            }
            self.release(slot.swap(Some(Arc::new(Entry {
                token: token.into(),
                key,
                window,
                value,
                weight,
            }))));
            // A reader that sees the old tag misses; one that sees the new tag with the old entry
            // compares the tokens and misses.
            tag.store(spot.tag, Ordering::Relaxed);
        }
    }

    /// Makes room by dropping the entries that come next in turn.
    fn reserve(&self, weight: usize) -> bool {
        let add = |total: usize| {
            let total = total.checked_add(weight)?;
            (total <= MAX_WEIGHT).then_some(total)
        };
        for _ in 0..=SWEEP {
            let reserved = self
                .weight
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            if reserved.is_ok() {
                return true;
            }
            let turn = self.hand.fetch_add(1, Ordering::Relaxed) % (SETS * WAYS);
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
    fn forget(&self, slot: &ArcSwapOption<Entry<V>>, kept: &Guard<Option<Arc<Entry<V>>>>) {
        let found = slot.compare_and_swap(kept, None);
        if let (Some(found), Some(kept)) = (&*found, &**kept)
            && Arc::ptr_eq(found, kept)
        {
            self.release(Some(Arc::clone(found)));
        }
    }

    /// Subtracts the weight of a removed entry.
    fn release(&self, entry: Option<Arc<Entry<V>>>) {
        if let Some(entry) = entry {
            self.weight.fetch_sub(entry.weight, Ordering::Relaxed);
        }
    }

    fn spot(&self, token: &[u8]) -> Spot {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(token.last_chunk::<TAIL>().map_or(token, |tail| tail));
        let hash = hasher.finish();
        let [a, b, c, d, high @ ..] = hash.to_le_bytes();
        let set = (u64::from(u32::from_le_bytes(high)) * SETS as u64) >> 32;
        Spot {
            set: usize::try_from(set).unwrap_or_default(),
            tag: u32::from_le_bytes([a, b, c, d]).max(1),
        }
    }
}

impl Spot {
    /// The ways of the set, beginning with the one that the token most likely has.
    fn ways(self) -> impl Iterator<Item = usize> {
        let [first, ..] = self.tag.to_le_bytes();
        (0..WAYS).map(move |step| (usize::from(first) + step) % WAYS)
    }
}

// Nothing of what it holds.
debug_fields!(SeenTokens<V> {});

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: usize, keys: u64) -> EntryKey {
        EntryKey {
            rule,
            keys,
            strict: false,
        }
    }

    impl Weigh for u32 {
        fn weight(&self) -> usize {
            0
        }
    }

    /// Claims that take so much.
    #[derive(Clone, Debug, PartialEq)]
    struct Heavy(usize);

    impl Weigh for Heavy {
        fn weight(&self) -> usize {
            self.0
        }
    }

    fn total<V>(seen: &SeenTokens<V>) -> usize {
        let slots = seen.slots.iter().flatten();
        let kept = slots.filter_map(ArcSwapOption::load_full);
        kept.map(|entry| entry.weight).sum()
    }

    fn window(until: f64) -> Window {
        Window::new(0.0, until)
    }

    /// J-28
    #[test]
    fn a_token_is_found_under_the_same_rule_keys_and_time_only() {
        let seen = SeenTokens::new();
        seen.put(b"token", key(0, 1), window(100.0), 1.0, 7_u32);
        assert_eq!(seen.get(b"token", key(0, 1), 100.0), Some(7));
        assert_eq!(seen.get(b"token", key(0, 2), 1.0), None);
        assert_eq!(seen.get(b"token", key(1, 1), 1.0), None);
        assert_eq!(seen.get(b"tokem", key(0, 1), 1.0), None);
        assert_eq!(
            seen.get(
                b"token",
                EntryKey {
                    strict: true,
                    ..key(0, 1)
                },
                1.0
            ),
            None
        );
    }

    /// J-28
    #[test]
    fn ten_thousand_tokens_at_most_are_kept() {
        let seen = SeenTokens::new();
        for number in 0..30_000_u32 {
            seen.put(&number.to_be_bytes(), key(0, 1), window(9.0), 1.0, number);
        }
        let kept = (0..30_000_u32)
            .filter(|number| seen.get(&number.to_be_bytes(), key(0, 1), 1.0) == Some(*number))
            .count();
        assert!((9_000..=10_000).contains(&kept), "{kept}");
    }

    #[test]
    fn four_thousand_tokens_live_side_by_side() {
        let seen = SeenTokens::new();
        for number in 0..4_096_u32 {
            seen.put(&number.to_be_bytes(), key(0, 1), window(9.0), 1.0, number);
        }
        let kept = (0..4_096_u32)
            .filter(|number| seen.get(&number.to_be_bytes(), key(0, 1), 1.0).is_some())
            .count();
        assert!(kept > 4_050, "{kept}");
    }

    /// J-28: only a token's end chooses its set, but all of it is compared.
    #[test]
    fn tokens_with_the_same_end_are_told_apart() {
        let seen = SeenTokens::new();
        let token = |number: u32| format!("{number}.{}", "s".repeat(TAIL));
        seen.put(b"other", key(0, 1), window(9.0), 1.0, 7_u32);
        for number in 0..40_u32 {
            let token = token(number);
            seen.put(token.as_bytes(), key(0, 1), window(9.0), 1.0, number);
            let kept = seen.get(token.as_bytes(), key(0, 1), 1.0);
            assert_eq!(kept, Some(number));
        }
        let get = |number: u32| seen.get(token(number).as_bytes(), key(0, 1), 1.0);
        let kept: Vec<_> = (0..40).filter_map(get).collect();
        assert!((WAYS - 1..=WAYS).contains(&kept.len()), "{kept:?}");
        assert_eq!(get(40), None);
        assert_eq!(seen.get(b"other", key(0, 1), 1.0), Some(7));
    }

    #[test]
    fn a_token_that_is_too_long_is_not_kept() {
        let seen = SeenTokens::new();
        let token = vec![b'a'; MAX_TOKEN + 1];
        seen.put(&token, key(0, 1), window(9.0), 1.0, 1_u32);
        assert_eq!(seen.get(&token, key(0, 1), 1.0), None);
    }

    /// what was refused once is not remembered when the clock goes back.
    #[test]
    fn a_token_that_has_ended_is_forgotten() {
        let seen = SeenTokens::new();
        seen.put(b"token", key(0, 1), window(100.0), 1.0, 7_u32);
        assert_eq!(seen.get(b"token", key(0, 1), 101.0), None);
        assert_eq!(seen.get(b"token", key(0, 1), 1.0), None);
        assert_eq!(seen.weight.load(Ordering::Relaxed), 0);
    }

    ///
    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let seen = SeenTokens::new();
        seen.put(b"big", key(0, 1), window(9.0), 1.0, Heavy(MAX_ENTRY));
        assert_eq!(seen.get(b"big", key(0, 1), 1.0), None);
        for weight in [100, 30_000, 60_000, 3_000, 65_000] {
            for number in 0..12_000_u32 {
                let name = (weight, number);
                let token = format!("{name:?}");
                seen.put(token.as_bytes(), key(0, 1), window(9.0), 1.0, Heavy(weight));
            }
            let kept = total(&seen);
            assert_eq!(kept, seen.weight.load(Ordering::Relaxed));
            assert!(kept <= MAX_WEIGHT, "{weight}: {kept}");
            let last = format!("{:?}", (weight, 11_999_u32));
            assert!(seen.get(last.as_bytes(), key(0, 1), 1.0).is_some());
        }
        assert!(total(&seen) > MAX_WEIGHT / 10 * 9, "the room is used");
    }

    #[test]
    fn the_room_is_counted_right_by_many_at_once() {
        let seen = SeenTokens::new();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let seen = &seen;
                scope.spawn(move || {
                    for number in 0..3_000_usize {
                        let token = ((number * 7 + thread) % 2_000).to_be_bytes();
                        let weight = Heavy(number * 31 % 65_000);
                        seen.put(&token, key(0, 1), window(9.0), 1.0, weight);
                        let now = if number % 3 == 0 { 10.0 } else { 1.0 };
                        seen.get(&token, key(0, 1), now);
                    }
                });
            }
        });
        assert_eq!(total(&seen), seen.weight.load(Ordering::Relaxed));
        assert!(total(&seen) <= MAX_WEIGHT);
    }
}
