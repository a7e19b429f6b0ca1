use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{KeyTable, Rate, Set, Tick};
use crate::policy::limit::TokenBucket;
use crate::rate_limit::key::Keys;

/// One token per second, and at most `burst` at once.
fn rate(burst: u32) -> Rate {
    Rate::new(&TokenBucket::new(1, Duration::from_secs(1)).burst(burst))
}

fn at(millis: u64) -> Tick {
    Tick::after(Duration::from_millis(millis))
}

/// Distinct keys, as they come from values.
struct Values(Keys);

impl Values {
    fn new() -> Self {
        Self(Keys::default())
    }

    fn key(&self, number: usize) -> u64 {
        let mut key = self.0.begin();
        key.add(&number.to_le_bytes());
        key.finish()
    }
}

impl KeyTable {
    /// What it has allocated.
    fn bytes(&self) -> usize {
        let all = self.sets.get().unwrap();
        let sets = all.iter().filter_map(|set| set.get());
        size_of_val(&**all) + sets.count() * size_of::<Set>()
    }

    fn passes(&self, key: u64, rate: &Rate, now: Tick) -> bool {
        self.take(key, rate, now).taken.is_taken
    }
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let (table, values, rate) = (KeyTable::new(100), Values::new(), rate(2));
    for number in 0..100 {
        let key = values.key(number);
        let passed: Vec<_> = (0..3).map(|_| table.take(key, &rate, at(5))).collect();
        assert_eq!(
            passed
                .iter()
                .map(|answer| answer.taken.is_taken)
                .collect::<Vec<_>>(),
            [true, true, false]
        );
        assert!(passed.iter().all(|answer| !answer.is_overflow), "{number}");
    }
    assert_eq!(table.keys(), 100);
}

/// A million values fill the table, share one bucket behind it, and give no key its tokens back.
#[test]
fn rotating_values_resets_no_bucket() {
    let (table, values, rate) = (KeyTable::new(1_000), Values::new(), rate(3));
    let victim = values.key(0);
    assert_eq!(
        (0..9)
            .filter(|_| table.passes(victim, &rate, at(9)))
            .count(),
        3
    );
    let mut by_overflow = (0, 0);
    for number in 1..1_000_000 {
        let answer = table.take(values.key(number), &rate, at(9));
        if answer.is_overflow {
            by_overflow.0 += 1;
            by_overflow.1 += usize::from(answer.taken.is_taken);
        }
    }
    assert!(by_overflow.0 >= 999_000, "{by_overflow:?}");
    assert_eq!(by_overflow.1, 3, "all that found no place share one bucket");
    assert!(!table.passes(victim, &rate, at(9)));
    assert_eq!(table.keys(), 1_000);
    assert!(table.bytes() <= 150 * 1_000, "{}", table.bytes());
}

#[test]
fn a_key_whose_bucket_is_full_gives_its_place_away() {
    let (table, values, rate) = (KeyTable::new(8), Values::new(), rate(4));
    for number in 0..8 {
        assert!(table.passes(values.key(number), &rate, at(0)));
    }
    assert!(table.take(values.key(8), &rate, at(999)).is_overflow);
    // All eight are full again, and some of them are where the new ones may be.
    let placed = (8..100).filter(|number| {
        !table
            .take(values.key(*number), &rate, at(1_000))
            .is_overflow
    });
    assert!(placed.count() > 0);
    assert_eq!(table.keys(), 8);
}

#[test]
fn almost_every_key_finds_a_place_until_the_table_is_full() {
    let (table, values, rate) = (KeyTable::new(100_000), Values::new(), rate(1));
    let homeless =
        (0..100_000).filter(|number| table.take(values.key(*number), &rate, at(1)).is_overflow);
    assert_eq!(homeless.count(), 0);
    assert!(table.bytes() <= 50 * 100_000, "{}", table.bytes());
}

#[test]
fn a_table_has_room_for_one_key_at_least_and_for_millions_at_most() {
    assert!(KeyTable::new(usize::MAX).max_keys < 5_000_000);
    let (table, values, rate) = (KeyTable::new(0), Values::new(), rate(1));
    assert!(!table.take(values.key(1), &rate, at(1)).is_overflow);
    assert!(table.take(values.key(2), &rate, at(1)).is_overflow);
}

/// Threads that bring one new key at once share one bucket.
#[test]
fn a_key_is_added_once() {
    let (values, rate) = (Values::new(), rate(5));
    for round in 0..200 {
        let table = KeyTable::new(10);
        let key = values.key(round);
        let barrier = std::sync::Barrier::new(4);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        (0..5)
                            .filter(|_| {
                                let answer = table.take(key, &rate, at(7));
                                answer.taken.is_taken && !answer.is_overflow
                            })
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(passed <= 5, "{passed}");
        assert_eq!(table.keys(), 1);
    }
}

/// Keys take each other's places all the time, from several threads, and none gets more than its
/// rate.
#[test]
fn no_key_gets_more_than_its_rate_while_places_change_hands() {
    const KEYS: usize = 64;
    let (table, values, rate) = (KeyTable::new(16), Values::new(), rate(2));
    let clock = AtomicU64::new(0);
    let granted: [AtomicU64; KEYS] = std::array::from_fn(|_| AtomicU64::new(0));
    let by_overflow = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (table, values, clock) = (&table, &values, &clock);
            let (granted, by_overflow, rate) = (&granted, &by_overflow, &rate);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..50_000 {
                    let now = at(clock.fetch_add(1, Ordering::Relaxed));
                    let number = random.usize(..KEYS);
                    let answer = table.take(values.key(number), rate, now);
                    let count = match answer.is_overflow {
                        true => by_overflow,
                        false => &granted[number],
                    };
                    count.fetch_add(u64::from(answer.taken.is_taken), Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = clock.load(Ordering::Relaxed) / 1_000;
    let counts: HashMap<_, _> = granted
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .enumerate()
        .collect();
    assert!(
        counts.values().all(|count| *count <= 2 + seconds),
        "{counts:?}"
    );
    assert!(counts.values().sum::<u64>() > 0);
    assert!(by_overflow.load(Ordering::Relaxed) <= 2 + seconds);
    assert!(table.keys() <= 16);
}
