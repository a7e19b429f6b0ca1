//! The keys of JWT-SVIDs by trust domain, for rules that name no keys of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::bundle::{Bundle, BundleFault};
use super::key_set::KeySet;
use super::remote::MAX_STALE;
use crate::identity::TrustDomain;
use crate::jwt::Refusal;
use crate::log_limit::limited;

/// The keys of JWT-SVIDs by trust domain, for token rules whose issuer is `spiffe://DOMAIN` and
/// that have neither `jwks` nor `jwksUri`. Clones share them; whoever holds one may replace the
/// keys at any time.
///
/// A mesh whose identity comes from the SPIFFE Workload API keeps such keys itself. Elsewhere, give
/// them to [`TokenOptions::svid_keys`](crate::mesh::TokenOptions::svid_keys), or to
/// [`Keyring::svid_keys`](super::Keyring::svid_keys).
///
/// ```
/// use std::collections::BTreeMap;
/// use tower_mesh::identity::TrustDomain;
/// use tower_mesh::jwt::SvidKeys;
///
/// let domain = TrustDomain::new("cluster.local")?;
/// let bundle = r#"{"keys": [], "spiffe_sequence": 7}"#;
/// let keys = SvidKeys::new();
/// // No refusals: a bundle without keys says that the domain is revoked.
/// assert!(keys.replace(&BTreeMap::from([(domain.clone(), bundle.to_owned())])).is_empty());
/// let older = bundle.replace('7', "6");
/// assert_eq!(keys.replace(&BTreeMap::from([(domain, older)])).len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SvidKeys(Arc<Shared>);

#[derive(Default)]
struct Shared {
    domains: ArcSwap<BTreeMap<TrustDomain, Arc<DomainBundle>>>,
    /// When the source of the keys was lost.
    lost: Mark,
    /// Counts the versions of bundles.
    versions: AtomicU64,
}

/// The bundle of one domain that is in use.
struct DomainBundle {
    keys: KeySet,
    text: Box<str>,
    sequence: Option<u64>,
    /// From 1, and never the same for two bundles.
    generation: u64,
    /// Since when all later bundles of the domain were refused.
    refused: Mark,
}

impl SvidKeys {
    /// No keys: every JWT-SVID is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the keys of all domains by these bundles, each a JWK set (SPIFFE Trust Domain and
    /// Bundle §4) whose keys with `use: jwt-svid` and a `kid` count. Unknown keys are left out.
    ///
    /// A domain that is not here is trusted no longer, and neither is one whose bundle has no keys,
    /// or roots of certificates alone. Returns the bundles that are refused: those that cannot be
    /// read or whose keys are all unusable, and those whose `spiffe_sequence` is lower than that of
    /// the bundle in use. Their domains keep the keys that they had, if they had any, for a day at
    /// most. The sequence of a domain that is left out is forgotten.
    #[must_use = "a domain whose bundle is refused keeps its keys, or has none"]
    pub fn replace(&self, bundles: &BTreeMap<TrustDomain, String>) -> Vec<BundleError> {
        let mut refused = Vec::new();
        // Runs again if somebody else has replaced them meanwhile.
        self.0.domains.rcu(|before| {
            refused.clear();
            let kept = bundles.iter().filter_map(|(domain, text)| {
                let held = before.get(domain);
                let bundle = self.version(held, text).unwrap_or_else(|fault| {
                    let domain = domain.clone();
                    refused.push(BundleError { domain, fault });
                    held.inspect(|held| held.refused.set()).cloned()
                });
                Some((domain.clone(), bundle?))
            });
            kept.collect::<BTreeMap<_, _>>()
        });
        self.0.lost.clear();
        refused
    }

    /// The bundle of this text, which comes after the one that is held.
    fn version(
        &self,
        held: Option<&Arc<DomainBundle>>,
        text: &str,
    ) -> Result<Option<Arc<DomainBundle>>, BundleFault> {
        if let Some(held) = held.filter(|held| *held.text == *text) {
            held.refused.clear();
            return Ok(Some(Arc::clone(held)));
        }
        let bundle = Bundle::read(text, held.and_then(|held| held.sequence))?;
        Ok(Some(Arc::new(DomainBundle {
            keys: bundle.keys,
            text: text.into(),
            sequence: bundle.sequence,
            generation: self.0.versions.fetch_add(1, Ordering::Relaxed) + 1,
            refused: Mark::default(),
        })))
    }

    /// Notes that the source of the keys is gone: they count for another day, unless they are
    /// [replaced](Self::replace) before that.
    pub fn lose(&self) {
        self.0.lost.set();
    }

    /// The trust domains whose JWT-SVIDs can be verified.
    #[must_use]
    pub fn trust_domains(&self) -> Vec<TrustDomain> {
        let domains = self.0.domains.load();
        let with_keys = domains.iter().filter(|(_, bundle)| !bundle.keys.is_empty());
        with_keys.map(|(domain, _)| domain.clone()).collect()
    }

    pub(super) fn of(&self, domain: TrustDomain) -> DomainKeys {
        DomainKeys {
            all: self.clone(),
            domain,
        }
    }
}

impl fmt::Debug for SvidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SvidKeys")
            .field(&self.trust_domains())
            .finish()
    }
}

/// The keys of one trust domain, as they are now.
pub(super) struct DomainKeys {
    all: SvidKeys,
    pub(super) domain: TrustDomain,
}

impl DomainKeys {
    /// A number that changes whenever the keys do; `None` when there are none.
    pub(super) fn generation(&self, now: f64) -> Option<u64> {
        self.read(now, |bundle| bundle.generation)
    }

    /// Runs `check` on the keys, and returns their generation.
    pub(super) fn check(
        &self,
        now: f64,
        check: impl FnOnce(&KeySet) -> Result<(), Refusal>,
    ) -> Result<u64, Refusal> {
        let checked = self.read(now, |bundle| {
            check(&bundle.keys).map(|()| bundle.generation)
        });
        checked.unwrap_or_else(|| {
            limited!(
                target: "tower_mesh::jwt",
                WARN,
                domain = %self.domain,
                "a JWT-SVID is refused: there is no bundle of its trust domain, or its source has been \
                 gone, or its bundles refused, for a day"
            );
            Err(Refusal::NoKeySet)
        })
    }

    fn read<T>(&self, now: f64, read: impl FnOnce(&DomainBundle) -> T) -> Option<T> {
        if self.all.0.lost.is_a_day_ago(now) {
            return None;
        }
        let domains = self.all.0.domains.load();
        let bundle = domains.get(&self.domain);
        let bundle = bundle.filter(|bundle| !bundle.refused.is_a_day_ago(now));
        bundle.map(|bundle| read(bundle))
    }
}

/// When something went wrong first, if it has: by the wall clock, in seconds since 1970, and by the
/// steady one, in seconds since the process began. Both are 0 while nothing has.
#[derive(Default)]
struct Mark {
    wall: AtomicU64,
    steady: AtomicU64,
}

impl Mark {
    /// The first call counts.
    fn set(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let order = Ordering::Relaxed;
        for (place, now) in [
            (&self.wall, wall.map_or(1, |wall| wall.as_secs().max(1))),
            (&self.steady, steady_seconds()),
        ] {
            let _ = place.compare_exchange(0, now, order, order);
        }
    }

    fn clear(&self) {
        self.wall.store(0, Ordering::Relaxed);
        self.steady.store(0, Ordering::Relaxed);
    }

    /// Either clock is enough: the steady one may stop while the machine sleeps, and the wall clock
    /// may be set back.
    fn is_a_day_ago(&self, now: f64) -> bool {
        let wall = self.wall.load(Ordering::Relaxed);
        let steady = self.steady.load(Ordering::Relaxed);
        let by_wall = wall != 0 && now - wall as f64 > MAX_STALE;
        let since = || steady_seconds().saturating_sub(steady) as f64;
        by_wall || steady != 0 && since() > MAX_STALE
    }
}

/// Seconds by the steady clock, from 1.
fn steady_seconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs() + 1
}

/// Why the bundle of a trust domain was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    domain: TrustDomain,
    fault: BundleFault,
}

impl BundleError {
    /// The trust domain, which keeps the keys that it had.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, fault } = self;
        write!(f, "the bundle of trust domain {domain} is refused: {fault}")
    }
}

impl std::error::Error for BundleError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Issuer;

    const DAY: f64 = MAX_STALE;

    fn now() -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs_f64()
    }

    fn bundle(domain: &TrustDomain, text: &str) -> BTreeMap<TrustDomain, String> {
        BTreeMap::from([(domain.clone(), text.to_owned())])
    }

    /// J-53. Keys that nothing renews count for a day: their source is gone, or what it brings is
    /// refused.
    #[test]
    fn keys_that_nothing_renews_count_for_a_day() {
        let domain = TrustDomain::new("cluster.local").unwrap();
        let good = Issuer::es256("any").with_key_id("a").jwks();
        let good = good.replace("\"sig\"", "\"jwt-svid\"");
        let keys = SvidKeys::new();
        let of = keys.of(domain.clone());
        let good = bundle(&domain, &good);
        let renews: [&dyn Fn(); 2] = [&|| keys.lose(), &|| {
            assert_eq!(keys.replace(&bundle(&domain, "{")).len(), 1);
        }];
        for fails in renews {
            assert_eq!(keys.replace(&good), []);
            assert!(of.generation(now() + 2.0 * DAY).is_some());
            fails();
            assert!(of.generation(now() + 0.9 * DAY).is_some());
            assert!(of.generation(now() + 1.1 * DAY).is_none());
            // The first failure counts.
            fails();
            assert!(of.generation(now() + 1.1 * DAY).is_none());
        }
        assert_eq!(keys.replace(&good), []);
        assert!(of.generation(now() + 2.0 * DAY).is_some());
    }
}
