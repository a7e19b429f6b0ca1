//! Hands out the keys of issuers, inline or fetched, and keeps them over a reload.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
use super::changes::KeyChanges;
use super::counts::Counts;
use super::key_set::KeySet;
use super::key_source::{KeySource, check_uri};
use super::remote::{FetchedKeys, RemoteKeys, whole_seconds};
use super::svid_keys::{DomainKeys, SvidKeys};
use crate::identity::TrustDomain;
use crate::istio::JwtRule;
use crate::jwt::Refusal;
use crate::policy::PlainHttp;

/// The most time for one fetch when the rule gives none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of one issuer: inline ones, those of a trust domain, or a cell that a
/// [`Fetcher`](super::Fetcher) fills. Clones share the cell.
#[derive(Clone)]
pub struct Jwks {
    cell: Arc<KeyCell>,
    /// The use that a rule makes of the keys; `None` for fetchers.
    key_use: Option<Arc<KeyUse>>,
}

enum KeyCell {
    Inline(KeySet),
    Remote(RemoteKeys),
    Domain(DomainKeys),
}

impl Jwks {
    /// Keys that never change.
    #[must_use]
    pub fn inline(keys: KeySet) -> Self {
        Self::new(Arc::new(KeyCell::Inline(keys)))
    }

    fn new(cell: Arc<KeyCell>) -> Self {
        Self {
            cell,
            key_use: None,
        }
    }

    /// The address of the keys; `None` for inline ones.
    #[must_use]
    pub fn source(&self) -> Option<&KeySource> {
        self.remote().map(|remote| &remote.source)
    }

    /// When the keys in use were fetched, in seconds since 1970; `None` for inline keys and before
    /// the first good fetch.
    #[must_use]
    pub fn fetched(&self) -> Option<u64> {
        let held = self.remote()?.held();
        held.map(|held| whole_seconds(held.fetched))
    }

    /// How many fetches have ended, and how many of them failed.
    #[must_use]
    pub fn fetches(&self) -> (u64, u64) {
        self.remote().map_or((0, 0), RemoteKeys::fetches)
    }

    pub(crate) fn downgrade(&self) -> WeakJwks {
        WeakJwks(Arc::downgrade(&self.cell))
    }

    pub(crate) fn remote(&self) -> Option<&RemoteKeys> {
        self.cell.remote()
    }

    /// A number that changes whenever the keys do; `None` when there are no valid keys.
    pub(crate) fn generation(&self, now: f64) -> Option<u64> {
        match &*self.cell {
            KeyCell::Inline(_) => Some(0),
            KeyCell::Domain(keys) => keys.generation(now),
            KeyCell::Remote(remote) => remote.read(self.before(), now, |held| held.generation),
        }
    }

    /// Runs `check` on the keys. If no key fits the token, this may start a fetch.
    pub(crate) fn check(
        &self,
        now: f64,
        check: impl FnOnce(&KeySet) -> Result<(), Refusal>,
    ) -> Result<u64, Refusal> {
        match &*self.cell {
            KeyCell::Inline(keys) => check(keys).map(|()| 0),
            KeyCell::Domain(keys) => keys.check(now, check),
            KeyCell::Remote(remote) => {
                let read = |held: &FetchedKeys| check(&held.keys).map(|()| held.generation);
                let verdict = remote
                    .read(self.before(), now, read)
                    .unwrap_or(Err(Refusal::NoKeySet));
                if verdict == Err(Refusal::NoKey) {
                    remote.ask(now);
                }
                verdict
            }
        }
    }

    fn before(&self) -> Option<&FetchedKeys> {
        self.key_use.as_deref()?.before.as_deref()
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.cell {
            KeyCell::Inline(keys) => f.debug_tuple("Jwks").field(keys).finish(),
            KeyCell::Remote(remote) => f.debug_tuple("Jwks").field(&remote.source).finish(),
            KeyCell::Domain(keys) => f.debug_tuple("Jwks").field(&keys.domain).finish(),
        }
    }
}

impl KeyCell {
    fn remote(&self) -> Option<&RemoteKeys> {
        match self {
            Self::Inline(_) | Self::Domain(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }
}

/// The use of one address by the rules of one issuer in one resource. It lives as long as those
/// rules.
struct KeyUse {
    cell: Arc<KeyCell>,
    /// Keys of the address before, which serve until this one has answered once (rule J-48).
    before: Option<Arc<FetchedKeys>>,
}

impl KeyUse {
    /// The keys that are in use.
    fn keys(&self) -> Option<Arc<FetchedKeys>> {
        let own = self.cell.remote()?.held();
        own.or_else(|| self.before.clone())
    }

    fn waits(&self) -> bool {
        let answered = self.cell.remote().and_then(RemoteKeys::held).is_some();
        self.before.is_some() && !answered
    }
}

/// One issuer in one resource: the owner of keys stays the same when their address moves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyOwner {
    resource: Arc<str>,
    issuer: Option<Box<str>>,
}

impl KeyOwner {
    /// `None` for a rule that belongs to no resource.
    pub(crate) fn from_rule(rule: &JwtRule) -> Option<Self> {
        Some(Self {
            resource: Arc::clone(rule.within.resource()?),
            issuer: rule.issuer.as_deref().map(Box::from),
        })
    }
}

/// The keys whose address has moved, for monitoring. Clones share them.
#[derive(Clone, Default)]
pub struct Moved(Arc<ArcSwap<Vec<Weak<KeyUse>>>>);

impl Moved {
    fn add(&self, key_use: &Arc<KeyUse>) {
        let uses = self.0.load();
        let living = uses
            .iter()
            .filter(|key_use| key_use.strong_count() > 0)
            .cloned();
        let uses = living.chain([Arc::downgrade(key_use)]).collect();
        self.0.store(Arc::new(uses));
    }

    /// The number of resources in which an issuer's new address has not answered yet, so that the
    /// keys of the one before serve.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let uses = self.0.load();
        let living = uses.iter().filter_map(Weak::upgrade);
        living.filter(|key_use| key_use.waits()).count()
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Moved").field(&self.waiting()).finish()
    }
}

/// The key sets that are fetched, by their source. Rules share them, also across reloads. The owner
/// compiles all rules with one keyring.
///
/// When the `jwksUri` of an issuer changes in a resource while the rules from before are still
/// there, their keys serve the new rules until the new URI has answered once, but at most for a day
/// after they were fetched.
#[derive(Default)]
pub struct Keyring {
    remote: BTreeMap<KeySource, WeakJwks>,
    uses: BTreeMap<KeyOwner, Vec<Weak<KeyUse>>>,
    moved: Moved,
    unfetched: Vec<Jwks>,
    http: PlainHttp,
    counts: Counts,
    svid_keys: Option<SvidKeys>,
    /// Whether a rule has asked for them.
    wants_svid_keys: bool,
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    changes: KeyChanges,
}

/// Keys that may have been dropped.
#[derive(Debug)]
pub(crate) struct WeakJwks(Weak<KeyCell>);

impl WeakJwks {
    pub(crate) fn upgrade(&self) -> Option<Jwks> {
        self.0.upgrade().map(Jwks::new)
    }
}

impl Keyring {
    /// An empty keyring.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts keys over plain HTTP from any server. An attacker on the network can then sign
    /// tokens: for tests and trusted networks only.
    #[must_use]
    pub fn danger_accept_http(mut self) -> Self {
        self.http = PlainHttp::Accepted;
        self
    }

    /// Accepts keys over plain HTTP from servers on this machine, for development: from `localhost`
    /// and loopback addresses, as the URI says. The client of the [`Fetcher`](super::Fetcher) must
    /// make sure that `localhost` resolves to loopback, as that of
    /// [`TokenOptions::loopback_http_jwks`](crate::mesh::TokenOptions::loopback_http_jwks) does.
    #[must_use]
    pub fn loopback_http(mut self) -> Self {
        self.http = PlainHttp::Loopback;
        self
    }

    /// Uses these counts in the authenticators that are compiled with this keyring.
    #[must_use]
    pub fn counting(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// Takes keys of JWT-SVIDs from here, for rules whose issuer is `spiffe://DOMAIN` and that have
    /// neither `jwks` nor `jwksUri`. Without this such rules are refused.
    #[must_use]
    pub fn svid_keys(mut self, keys: SvidKeys) -> Self {
        self.svid_keys = Some(keys);
        self
    }

    /// Whether a rule needs the [keys of JWT-SVIDs](Self::svid_keys) that this keyring has.
    #[must_use]
    pub fn wants_svid_keys(&self) -> bool {
        self.wants_svid_keys
    }

    /// The keys of a trust domain; `None` if this keyring has no keys of trust domains.
    pub(crate) fn domain(&mut self, domain: TrustDomain) -> Option<Jwks> {
        let keys = self.svid_keys.as_ref()?.of(domain);
        self.wants_svid_keys = true;
        Some(Jwks::new(Arc::new(KeyCell::Domain(keys))))
    }

    /// Tells of fetched keys that differ from those before.
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    pub(crate) fn changes(&self) -> &KeyChanges {
        &self.changes
    }

    pub(crate) fn http(&self) -> PlainHttp {
        self.http
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The keys whose address has moved, now and later.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.moved.clone()
    }

    /// The key sets that were added since the last call and that rules use. Each needs a
    /// [`Fetcher`](super::Fetcher) of its own.
    #[must_use]
    pub fn take_unfetched(&mut self) -> Vec<Jwks> {
        self.uses.retain(|_, uses| {
            uses.retain(|key_use| key_use.strong_count() > 0);
            !uses.is_empty()
        });
        let mut added = std::mem::take(&mut self.unfetched);
        // Key sets of refused rules have no other owner.
        added.retain(|jwks| Arc::strong_count(&jwks.cell) > 1);
        added
    }

    /// The key set of a source, for a rule of this owner. Until a new one has been fetched, the
    /// keys serve that the owner had from another address, if it had any.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the URI.
    pub(crate) fn remote(
        &mut self,
        source: KeySource,
        timeout: Option<Duration>,
        owner: Option<KeyOwner>,
    ) -> Result<Jwks, String> {
        check_uri(&source.uri(), self.http)?;
        let mut jwks = match self.remote.get(&source).and_then(WeakJwks::upgrade) {
            Some(jwks) => jwks,
            None => self.add(source, timeout.unwrap_or(TIMEOUT)),
        };
        jwks.key_use = owner.map(|owner| self.key_use(owner, &jwks.cell));
        Ok(jwks)
    }

    fn add(&mut self, source: KeySource, timeout: Duration) -> Jwks {
        let remote = RemoteKeys::new(source.clone(), timeout, self.http);
        #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
        let remote = remote.telling(self.changes.clone());
        let jwks = Jwks::new(Arc::new(KeyCell::Remote(remote)));
        self.remote.retain(|_, weak| weak.0.strong_count() > 0);
        self.remote.insert(source, jwks.downgrade());
        self.unfetched.push(jwks.clone());
        jwks
    }

    /// The use that an owner makes of these keys. An owner that uses keys of several other
    /// addresses gets none of them to begin with: which address has moved is not known.
    fn key_use(&mut self, owner: KeyOwner, cell: &Arc<KeyCell>) -> Arc<KeyUse> {
        let uses = self.uses.entry(owner).or_default();
        uses.retain(|key_use| key_use.strong_count() > 0);
        let living: Vec<_> = uses.iter().filter_map(Weak::upgrade).collect();
        let own = living
            .iter()
            .find(|key_use| Arc::ptr_eq(&key_use.cell, cell));
        if let Some(key_use) = own {
            return Arc::clone(key_use);
        }
        let before = match living.as_slice() {
            [only] => only.keys(),
            _ => None,
        };
        let key_use = Arc::new(KeyUse {
            cell: Arc::clone(cell),
            before: before.map(|held| Arc::new(held.elsewhere())),
        });
        if key_use.waits() {
            let source = |cell: &KeyCell| cell.remote().map(|remote| remote.source.to_string());
            tracing::warn!(
                before = living.first().and_then(|key_use| source(&key_use.cell)),
                now = source(cell),
                "the address of an issuer's keys has moved; the keys from before serve until it answers, for a day at most"
            );
            self.moved.add(&key_use);
        }
        uses.push(Arc::downgrade(&key_use));
        key_use
    }
}

debug_fields!(Keyring(keyring) { sources = keyring.remote.keys(), unfetched = keyring.unfetched });
