//! The keys of JWT-SVIDs by trust domain, for rules that name no keys of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// When the source of the keys was lost, in seconds since 1970; 0 while it is there.
    lost: AtomicU64,
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
    /// A domain that is not here is trusted no longer, and neither is one whose bundle has no keys, or
    /// roots of certificates alone. Returns the bundles that are refused: those that cannot be read or whose keys
    /// are all unusable, and those whose `spiffe_sequence` is lower than that of the bundle in use. Their domains keep the keys that
    /// they had, if they had any.
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
                    held.cloned()
                });
                Some((domain.clone(), bundle?))
            });
            kept.collect::<BTreeMap<_, _>>()
        });
        self.0.lost.store(0, Ordering::Relaxed);
        refused
    }

    /// The bundle of this text, which comes after the one that is held.
    fn version(
        &self,
        held: Option<&Arc<DomainBundle>>,
        text: &str,
    ) -> Result<Option<Arc<DomainBundle>>, BundleFault> {
        if let Some(held) = held.filter(|held| *held.text == *text) {
            return Ok(Some(Arc::clone(held)));
        }
        let bundle = Bundle::read(text, held.and_then(|held| held.sequence))?;
        Ok(Some(Arc::new(DomainBundle {
            keys: bundle.keys,
            text: text.into(),
            sequence: bundle.sequence,
            generation: self.0.versions.fetch_add(1, Ordering::Relaxed) + 1,
        })))
    }

    /// Notes that the source of the keys is gone: they count for another day, unless they are
    /// [replaced](Self::replace) before that.
    pub fn lose(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(1, |now| now.as_secs().max(1));
        let order = Ordering::Relaxed;
        // The first loss counts.
        let _ = self.0.lost.compare_exchange(0, now, order, order);
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
                "a JWT-SVID is refused: there is no bundle of its trust domain, or its source has been gone for a day"
            );
            Err(Refusal::NoKeySet)
        })
    }

    fn read<T>(&self, now: f64, read: impl FnOnce(&DomainBundle) -> T) -> Option<T> {
        let lost = self.all.0.lost.load(Ordering::Relaxed);
        if lost != 0 && now - lost as f64 > MAX_STALE {
            return None;
        }
        let domains = self.all.0.domains.load();
        domains.get(&self.domain).map(|bundle| read(bundle))
    }
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
