//! Tokens that were good a moment ago (rule J-28): a signature costs 15 to 40 µs, remembering it 100 ns.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::verify::Window;

/// Longer tokens are verified each time, which bounds the memory of the cache.
const MAX_TOKEN: usize = 4 << 10;
const WAYS: usize = 16;
/// 16 ways each: 9,984 tokens in all.
const SETS: usize = 624;

/// A bounded cache that is read without locks and without waiting. Only a token that is equal to the last byte is found.
///
/// It belongs to one generation of the rules and dies with it.
pub(crate) struct SeenTokens<V> {
    hasher: SeedableRandomState,
    tags: Box<[[AtomicU64; WAYS]]>,
    slots: Box<[[ArcSwapOption<Entry<V>>; WAYS]]>,
    next: AtomicUsize,
}

struct Entry<V> {
    token: Box<[u8]>,
    key: EntryKey,
    window: Window,
    value: V,
}

/// Under which circumstances a token was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryKey {
    pub(crate) rule: usize,
    /// The generation of the rule's keys.
    pub(crate) keys: u64,
    pub(crate) strict: bool,
}

impl<V: Clone> SeenTokens<V> {
    pub(crate) fn new() -> Self {
        // Seeded by the standard library's random keys, so that nobody outside can aim at one set.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            tags: (0..SETS).map(|_| Default::default()).collect(),
            slots: (0..SETS).map(|_| Default::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// What was kept for this token, if it still counts.
    pub(crate) fn get(&self, token: &[u8], key: EntryKey, now: f64) -> Option<V> {
        let tag = self.tag(token);
        let (tags, slots) = self.set(tag)?;
        for place in places(tag) {
            if tags.get(place)?.load(Ordering::Relaxed) != tag {
                continue;
            }
            let entry = slots.get(place)?.load();
            if let Some(entry) = entry.as_deref()
                && entry.key == key
                && *entry.token == *token
                && entry.window.contains(now)
            {
                return Some(entry.value.clone());
            }
        }
        None
    }

    /// Keeps a good token: in its own old place, a free or outdated one of its set, else in place of another.
    pub(crate) fn put(&self, token: &[u8], key: EntryKey, window: Window, now: f64, value: V) {
        if token.len() > MAX_TOKEN {
            return;
        }
        let tag = self.tag(token);
        let Some((tags, slots)) = self.set(tag) else {
            return;
        };
        let is_spent = |slot: &ArcSwapOption<Entry<V>>| {
            slot.load().as_deref().is_none_or(|entry| {
                !entry.window.contains(now)
                    || (entry.key.rule == key.rule
                        && (entry.key.keys != key.keys || *entry.token == *token))
            })
        };
        let place = places(tag)
            .find(|place| slots.get(*place).is_some_and(is_spent))
            .unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % WAYS);
        if let (Some(place_tag), Some(slot)) = (tags.get(place), slots.get(place)) {
            slot.store(Some(Arc::new(Entry {
                token: token.into(),
                key,
                window,
                value,
            })));
            // A reader that sees the old tag misses; one that sees the new tag with the old entry compares the tokens and misses.
            place_tag.store(tag, Ordering::Relaxed);
        }
    }

    fn tag(&self, token: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(token);
        // Zero marks a place that was never used.
        hasher.finish().max(1)
    }

    #[expect(clippy::type_complexity, reason = "two rows of the same set")]
    fn set(&self, tag: u64) -> Option<(&[AtomicU64; WAYS], &[ArcSwapOption<Entry<V>>; WAYS])> {
        let index = usize::try_from(((tag >> 32) * SETS as u64) >> 32).ok()?;
        Some((self.tags.get(index)?, self.slots.get(index)?))
    }
}

/// The places of a set, beginning with the one that a token with this tag most likely has.
fn places(tag: u64) -> impl Iterator<Item = usize> {
    let [.., low] = tag.to_be_bytes();
    (0..WAYS).map(move |step| (usize::from(low) + step) % WAYS)
}

impl<V> std::fmt::Debug for SeenTokens<V> {
    /// Prints nothing of what it holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeenTokens").finish_non_exhaustive()
    }
}

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

    fn window(until: f64) -> Window {
        Window::new(0.0, until)
    }

    /// J-28
    #[test]
    fn a_token_is_found_under_the_same_rule_keys_and_time_only() {
        let seen = SeenTokens::new();
        seen.put(b"token", key(0, 1), window(100.0), 1.0, 7);
        assert_eq!(seen.get(b"token", key(0, 1), 100.0), Some(7));
        assert_eq!(seen.get(b"token", key(0, 1), 101.0), None);
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

    #[test]
    fn a_token_that_is_too_long_is_not_kept() {
        let seen = SeenTokens::new();
        let token = vec![b'a'; MAX_TOKEN + 1];
        seen.put(&token, key(0, 1), window(9.0), 1.0, 1);
        assert_eq!(seen.get(&token, key(0, 1), 1.0), None);
    }
}
