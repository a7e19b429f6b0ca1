//! Remembers good tokens (rule J-28): verifying a signature takes 15 to 40 µs, finding a token here
//! some 100 ns.

use super::token::Window;
use crate::bounded_cache::weight::{self, Weigh};
use crate::bounded_cache::{BoundedCache, Look, Standing};

/// Longer tokens are verified each time.
const MAX_TOKEN: usize = 4 << 10;
/// The most heap bytes that all entries may take, and one entry with its claims.
const MAX_WEIGHT: usize = 32 << 20;
const MAX_ENTRY: usize = 64 << 10;
/// How many bytes at a token's end choose its set and way. They are part of the signature.
const TAIL: usize = 16;
/// How many tokens are kept.
const TOKENS: usize = 9_984;

/// A cache that finds a token only if every byte is equal.
///
/// A token is looked up by a hash of its last bytes. Whoever sends many texts with one end, which
/// only variants of a good signature can have, fills one set.
///
/// It belongs to one generation of the rules and dies with it.
pub(crate) struct SeenTokens<V>(BoundedCache<Entry<V>>);

struct Entry<V> {
    token: Box<[u8]>,
    key: EntryKey,
    window: Window,
    value: V,
    weight: usize,
}

impl<V> Weigh for Entry<V> {
    fn weight(&self) -> usize {
        self.weight
    }
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
        Self(BoundedCache::new(TOKENS, MAX_WEIGHT))
    }

    /// The value of this token, if it is still valid. Drops an outdated entry: if the clock goes
    /// back, the token is verified again.
    pub(crate) fn get(&self, token: &[u8], key: EntryKey, now: f64) -> Option<V> {
        self.0.get(self.0.spot(tail(token)), |entry| {
            if entry.key != key || *entry.token != *token {
                Look::Other
            } else if entry.window.contains(now) {
                Look::Found(entry.value.clone())
            } else {
                Look::Spent
            }
        })
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
        let new = Entry {
            token: token.into(),
            key,
            window,
            value,
            weight,
        };
        self.0.put(self.0.spot(tail(token)), new, |entry| {
            let is_spent = !entry.window.contains(now)
                || (entry.key.rule == key.rule
                    && (entry.key.keys != key.keys || *entry.token == *token));
            match is_spent {
                true => Standing::Goes,
                false => Standing::Stays,
            }
        });
    }
}

fn tail(token: &[u8]) -> &[u8] {
    token.last_chunk::<TAIL>().map_or(token, |tail| tail)
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
        assert!((15..=16).contains(&kept.len()), "{kept:?}");
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
        assert_eq!(seen.0.weight(), 0);
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
            let kept = seen.0.total();
            assert_eq!(kept, seen.0.weight());
            assert!(kept <= MAX_WEIGHT, "{weight}: {kept}");
            let last = format!("{:?}", (weight, 11_999_u32));
            assert!(seen.get(last.as_bytes(), key(0, 1), 1.0).is_some());
        }
        assert!(seen.0.total() > MAX_WEIGHT / 10 * 9, "the room is used");
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
        assert_eq!(seen.0.total(), seen.0.weight());
        assert!(seen.0.total() <= MAX_WEIGHT);
    }
}
