//! The keys that were fetched from one address, and how old they may get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
use super::changes::KeyChanges;
use super::key_set::KeySet;
use super::key_source::KeySource;
use crate::policy::PlainHttp;

/// How long keys are valid without a successful fetch (rule J-41), in seconds.
pub(super) const MAX_STALE: f64 = 24.0 * 3600.0;
/// How far a clock may be behind the time of the fetch before it must have been set back.
const LEEWAY: f64 = 60.0;
/// The shortest time between fetches that requests ask for (rule J-43), in seconds.
const ASK_EVERY: u64 = 30;
/// How many requests may wait for the keys of one address (rule J-44).
const MOST_WAITING: usize = 1024;
/// The generation of keys that came from another address; those of this address count from 1.
const ELSEWHERE: u64 = u64::MAX;

/// The keys that a fetcher brings from one address.
pub(crate) struct RemoteKeys {
    pub(crate) source: KeySource,
    pub(crate) timeout: Duration,
    /// Whether they may be fetched over plain HTTP.
    pub(crate) http: PlainHttp,
    held: ArcSwapOption<FetchedKeys>,
    generation: AtomicU64,
    /// When requests last asked for a fetch, in seconds since 1970, and how often they have: see
    /// [`Asked`]. One word, so that no request sees the one without the other.
    asked: AtomicU64,
    /// The clock of the request that asked last, until the fetch begins; 0 if none asked.
    clock: AtomicU64,
    /// The fetcher keeps this longer than the keys.
    pub(crate) wanted: Arc<Notify>,
    /// How many of the asks have been answered by a fetch that began later.
    answers: AtomicU64,
    /// Wakes the requests that wait for such a fetch.
    pub(crate) ended: Notify,
    /// The room for them.
    room: Arc<Semaphore>,
    fetches: AtomicU64,
    failures: AtomicU64,
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    changes: KeyChanges,
}

/// Keys that were fetched.
#[derive(Clone)]
pub(crate) struct FetchedKeys {
    pub(crate) keys: Arc<KeySet>,
    /// The text that they were parsed from.
    text: Arc<str>,
    /// That of a trust domain's bundle.
    pub(super) sequence: Option<u64>,
    pub(crate) generation: u64,
    /// By the wall clock, in seconds since 1970, and by the steady one.
    pub(crate) fetched: f64,
    since: Instant,
}

/// The age of keys by some clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Good,
    /// Good, but fetched in the future: the clock was set back.
    Ahead,
    TooOld,
}

impl FetchedKeys {
    /// The same keys, for use at another address until that one answers.
    pub(crate) fn elsewhere(&self) -> Self {
        Self {
            generation: ELSEWHERE,
            ..self.clone()
        }
    }

    pub(crate) fn counts(&self, now: f64) -> bool {
        self.age(now) != Age::TooOld
    }

    /// The wall clock decides, since the steady one stops while the machine sleeps. If the wall
    /// clock was set back, the steady one decides.
    fn age(&self, now: f64) -> Age {
        let age = now - self.fetched;
        if age > MAX_STALE {
            Age::TooOld
        } else if age >= -LEEWAY {
            Age::Good
        } else if self.since.elapsed().as_secs_f64() > MAX_STALE {
            Age::TooOld
        } else {
            Age::Ahead
        }
    }
}

/// What [`RemoteKeys::asked`] holds.
#[derive(Clone, Copy)]
struct Asked {
    at: u64,
    /// At most one in 30 seconds, so that it takes centuries to fill its bits.
    times: u64,
}

impl Asked {
    fn read(word: u64) -> Self {
        Self {
            at: word >> TIMES_BITS,
            times: word & ((1 << TIMES_BITS) - 1),
        }
    }

    fn write(self) -> u64 {
        self.at << TIMES_BITS | self.times & ((1 << TIMES_BITS) - 1)
    }
}

const TIMES_BITS: u32 = 30;

impl RemoteKeys {
    pub(crate) fn new(source: KeySource, timeout: Duration, http: PlainHttp) -> Self {
        Self {
            source,
            timeout,
            http,
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            wanted: Arc::new(Notify::new()),
            answers: AtomicU64::new(0),
            ended: Notify::new(),
            room: Arc::new(Semaphore::new(MOST_WAITING)),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
            changes: KeyChanges::default(),
        }
    }

    /// Tells of keys that differ from those before.
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    pub(crate) fn telling(mut self, changes: KeyChanges) -> Self {
        self.changes = changes;
        self
    }

    /// The keys that were fetched last, valid or not.
    pub(crate) fn held(&self) -> Option<Arc<FetchedKeys>> {
        self.held.load_full()
    }

    /// Reads the keys if they are valid; `before` serves until there are any. Asks for a fetch if
    /// the clock has jumped.
    pub(crate) fn read<T>(
        &self,
        before: Option<&FetchedKeys>,
        now: f64,
        read: impl FnOnce(&FetchedKeys) -> T,
    ) -> Option<T> {
        let held = self.held.load();
        let Some(held) = held.as_deref() else {
            return before.filter(|before| before.counts(now)).map(read);
        };
        let age = held.age(now);
        if age != Age::Good {
            self.ask(now);
        }
        (age != Age::TooOld).then(|| read(held))
    }

    /// Publishes fetched keys. If the text has not changed, only their age does, so that remembered
    /// tokens stay valid.
    pub(crate) fn store(&self, keys: KeySet, text: String, sequence: Option<u64>, fetched: f64) {
        let held = self.held.load_full();
        #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
        let before = held.as_deref().map(|held| &*held.text);
        #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
        if before != Some(&*text) {
            self.changes.tell(&self.source, before, &text);
        }
        let (keys, generation) = match held.as_deref() {
            Some(held) if *held.text == *text => (Arc::clone(&held.keys), held.generation),
            _ => (
                Arc::new(keys),
                self.generation.fetch_add(1, Ordering::Relaxed) + 1,
            ),
        };
        self.held.store(Some(Arc::new(FetchedKeys {
            keys,
            text: text.into(),
            sequence,
            generation,
            fetched,
            since: Instant::now(),
        })));
    }

    /// Counts a fetch that ended.
    pub(crate) fn count(&self, succeeded: bool) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if !succeeded {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many fetches have ended, and how many of them failed.
    pub(crate) fn fetches(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.fetches), count(&self.failures))
    }

    /// Wakes the fetcher, at most once in 30 seconds.
    pub(crate) fn ask(&self, now: f64) {
        let now = whole_seconds(now);
        let word = self.asked.load(Ordering::Acquire);
        let asked = Asked::read(word);
        let again = Asked {
            at: now,
            times: asked.times + 1,
        };
        // Compares in both directions: a clock that was ahead must not block fetches until that
        // time comes.
        if now.abs_diff(asked.at) >= ASK_EVERY
            && self
                .asked
                .compare_exchange(word, again.write(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            self.clock.store(now, Ordering::Relaxed);
            self.wanted.notify_one();
        }
    }

    /// Whether requests have asked for a fetch that has not ended.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.answers.load(Ordering::Acquire) < self.asks()
    }

    /// Room for one request to wait, if a fetch was asked for so lately that it may be under way, or
    /// may have ended after the request was judged. `None` also when too many wait.
    pub(crate) fn room(&self, now: f64) -> Option<OwnedSemaphorePermit> {
        let asked = Asked::read(self.asked.load(Ordering::Acquire));
        // The fetch may have had to wait for one that was under way.
        let most = 2 * self.timeout.as_secs() + 1;
        if whole_seconds(now).abs_diff(asked.at) > most {
            return None;
        }
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// How often a fetch was asked for before one begins.
    pub(crate) fn asks(&self) -> u64 {
        Asked::read(self.asked.load(Ordering::Acquire)).times
    }

    /// Ends a fetch that began after so many had been asked for, and the wait of the requests that
    /// asked.
    pub(crate) fn end(&self, asks: u64) {
        self.answers.fetch_max(asks, Ordering::AcqRel);
        self.ended.notify_waiters();
    }

    /// The time at which a fetch begins: by the clock of the request that asked for it, so that the
    /// same clock measures its age.
    pub(crate) fn begin(&self) -> f64 {
        match self.clock.swap(0, Ordering::Relaxed) {
            0 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.map_or(0.0, |now| now.as_secs() as f64)
            }
            asked => asked as f64,
        }
    }
}

/// A time of ours as an integer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was made of whole seconds"
)]
pub(super) fn whole_seconds(time: f64) -> u64 {
    time as u64
}

impl Drop for RemoteKeys {
    /// Wakes the fetcher, which ends when the keys are no longer used.
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}
