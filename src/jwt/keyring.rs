use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::Uri;
use tokio::sync::Notify;

use super::{Counts, KeySet, Refusal};
use crate::policy::{check_key_uri, discovery_uri};

/// How long keys count without a successful fetch (rule J-41).
const MAX_STALE: f64 = 24.0 * 3600.0;
/// How often unknown key ids may cause a fetch (rule J-43), in seconds.
const ASK_EVERY: u64 = 30;
/// Bound on one fetch when the rule gives none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of one issuer: inline ones, or a cell that a [`Fetcher`](super::Fetcher) fills. Clones share the cell.
#[derive(Clone)]
pub struct Jwks(Arc<Cell>);

enum Cell {
    Inline(KeySet),
    Remote(Remote),
}

pub(crate) struct Remote {
    pub(crate) source: KeySource,
    pub(crate) timeout: Duration,
    pub(crate) accepts_http: bool,
    held: ArcSwapOption<Held>,
    generation: AtomicU64,
    asked: AtomicU64,
    /// Outlives the keys in their fetcher's hands.
    pub(crate) wanted: Arc<Notify>,
    fetches: AtomicU64,
    failures: AtomicU64,
}

struct Held {
    keys: Arc<KeySet>,
    /// What they were parsed from.
    text: Box<str>,
    generation: u64,
    fetched: f64,
}

/// Where keys are fetched. The text is the one of the rule: keys of one place never verify for another (rule J-48).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeySource {
    /// A JWK set.
    Uri(Box<str>),
    /// The `jwks_uri` of an issuer's `/.well-known/openid-configuration`.
    Discovery(Box<str>),
}

impl KeySource {
    /// The URI to ask first.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Uri(uri) => uri.to_string(),
            Self::Discovery(issuer) => discovery_uri(issuer),
        }
    }
}

impl Jwks {
    /// Keys that never change.
    #[must_use]
    pub fn inline(keys: KeySet) -> Self {
        Self(Arc::new(Cell::Inline(keys)))
    }

    /// Where the keys are fetched; `None` for inline ones.
    #[must_use]
    pub fn source(&self) -> Option<&KeySource> {
        self.remote().map(|remote| &remote.source)
    }

    /// When the keys in use were fetched, in seconds since 1970; `None` for inline keys and before the first good fetch.
    #[must_use]
    pub fn fetched(&self) -> Option<u64> {
        let held = self.remote()?.held.load();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was made of whole seconds"
        )]
        held.as_deref().map(|held| held.fetched as u64)
    }

    /// How many fetches have ended, and how many of them failed.
    #[must_use]
    pub fn fetches(&self) -> (u64, u64) {
        self.remote().map_or((0, 0), |remote| {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            (count(&remote.fetches), count(&remote.failures))
        })
    }

    pub(crate) fn downgrade(&self) -> WeakJwks {
        WeakJwks(Arc::downgrade(&self.0))
    }

    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &*self.0 {
            Cell::Inline(_) => None,
            Cell::Remote(remote) => Some(remote),
        }
    }

    /// A number that changes whenever the keys do; `None` when there are no keys that count.
    pub(crate) fn generation(&self, now: f64) -> Option<u64> {
        match &*self.0 {
            Cell::Inline(_) => Some(0),
            Cell::Remote(remote) => {
                let held = remote.held.load();
                let held = held.as_deref()?;
                held.counts(now).then_some(held.generation)
            }
        }
    }

    /// Runs `check` on the keys. A token that fits none of them may ask for a fetch.
    pub(crate) fn check(
        &self,
        now: f64,
        check: impl FnOnce(&KeySet) -> Result<(), Refusal>,
    ) -> Result<u64, Refusal> {
        match &*self.0 {
            Cell::Inline(keys) => check(keys).map(|()| 0),
            Cell::Remote(remote) => {
                let held = remote.held.load();
                let held = held.as_deref().filter(|held| held.counts(now));
                let held = held.ok_or(Refusal::NoKeySet)?;
                let verdict = check(&held.keys);
                if verdict == Err(Refusal::NoKey) {
                    remote.ask(now);
                }
                verdict.map(|()| held.generation)
            }
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cell::Inline(keys) => f.debug_tuple("Jwks").field(keys).finish(),
            Cell::Remote(remote) => f.debug_tuple("Jwks").field(&remote.source).finish(),
        }
    }
}

impl Held {
    fn counts(&self, now: f64) -> bool {
        now - self.fetched <= MAX_STALE
    }
}

impl Remote {
    /// Publishes freshly fetched keys. The same text again only grows younger, so that remembered tokens stay good.
    pub(crate) fn store(&self, keys: KeySet, text: String, now: f64) {
        let (keys, generation) = match self.held.load().as_deref() {
            Some(held) if *held.text == *text => (Arc::clone(&held.keys), held.generation),
            _ => (
                Arc::new(keys),
                self.generation.fetch_add(1, Ordering::Relaxed) + 1,
            ),
        };
        self.held.store(Some(Arc::new(Held {
            keys,
            text: text.into(),
            generation,
            fetched: now,
        })));
    }

    /// Counts a fetch that ended.
    pub(crate) fn count(&self, succeeded: bool) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if !succeeded {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes the fetcher, at most once in 30 seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was made of whole seconds"
    )]
    fn ask(&self, now: f64) {
        let now = now as u64;
        let asked = self.asked.load(Ordering::Relaxed);
        // In either direction: a clock that was ahead must not silence us until it is there again.
        if now.abs_diff(asked) >= ASK_EVERY
            && self
                .asked
                .compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.wanted.notify_one();
        }
    }
}

impl Drop for Remote {
    /// Lets the fetcher notice that nobody uses the keys any more.
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

/// The key sets that are fetched, by their source, so that rules and reloads share them. Kept by whoever compiles the rules.
#[derive(Debug, Default)]
pub struct Keyring {
    remote: BTreeMap<KeySource, WeakJwks>,
    unfetched: Vec<Jwks>,
    accepts_http: bool,
    counts: Counts,
}

/// Keys that may be gone.
pub(crate) struct WeakJwks(Weak<Cell>);

impl WeakJwks {
    pub(crate) fn upgrade(&self) -> Option<Jwks> {
        self.0.upgrade().map(Jwks)
    }
}

impl fmt::Debug for WeakJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwks")
    }
}

impl Keyring {
    /// A keyring with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets keys be fetched over plain HTTP too. Whoever sits on the way can then sign tokens: for tests and trusted wires only.
    #[must_use]
    pub fn danger_accept_http(mut self) -> Self {
        self.accepts_http = true;
        self
    }

    /// Lets the authenticators that are compiled with this keyring count here.
    #[must_use]
    pub fn counting(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    pub(crate) fn accepts_http(&self) -> bool {
        self.accepts_http
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The key sets that were added since the last call: each wants a [`Fetcher`](super::Fetcher) of its own.
    #[must_use]
    pub fn take_unfetched(&mut self) -> Vec<Jwks> {
        std::mem::take(&mut self.unfetched)
    }

    /// The key set of a source; a new one starts without keys.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the URI.
    pub(crate) fn remote(
        &mut self,
        source: KeySource,
        timeout: Option<Duration>,
    ) -> Result<Jwks, String> {
        check_uri(&source.uri(), self.accepts_http)?;
        if let Some(jwks) = self.remote.get(&source).and_then(WeakJwks::upgrade) {
            return Ok(jwks);
        }
        let jwks = Jwks(Arc::new(Cell::Remote(Remote {
            source: source.clone(),
            timeout: timeout.unwrap_or(TIMEOUT),
            accepts_http: self.accepts_http,
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            wanted: Arc::new(Notify::new()),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })));
        self.remote.retain(|_, weak| weak.0.strong_count() > 0);
        self.remote
            .insert(source, WeakJwks(Arc::downgrade(&jwks.0)));
        self.unfetched.push(jwks.clone());
        Ok(jwks)
    }
}

/// Rule J-47: https only, unless told otherwise.
pub(crate) fn check_uri(uri: &str, accepts_http: bool) -> Result<Uri, String> {
    check_key_uri(uri, accepts_http)?;
    uri.parse().map_err(|_| "not a URI".to_owned())
}
