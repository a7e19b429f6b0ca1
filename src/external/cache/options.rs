//! The settings of a decision cache.

use std::time::Duration;

use http::HeaderName;

use crate::istio::{AuthorizerCache, CacheKey, Position};

/// Lets decisions of a provider count for more than one request.
///
/// # What finds a decision
///
/// A decision is found again by the attributes that you declare, and by no other. Requests that are
/// equal in all of them get one decision, with its changes of headers and its answer. **An
/// attribute that the provider looks at and that you do not declare is not seen**: if the provider
/// decides by the header `authorization` and the cache is keyed by the path alone, then the yes to
/// one user opens the path to all. Declare everything that the provider decides by.
///
/// The attributes are compared whole: no hash stands for them, so that two requests never share a
/// decision by chance. A request whose attributes take more than 4 KiB is asked about each time,
/// and so is every request of a provider that is asked before tokens are verified, if the cache is
/// keyed by the request principal or a claim. The body is never part of the key.
///
/// A decision that is meant for one caller is not kept: one with `set-cookie`, a redirect, and a
/// challenge with a nonce.
///
/// Equal requests that come while the provider is asked wait for its answer, for half of its
/// timeout at most. After two seconds another one of them asks, too. If the answer is an error or is
/// not kept, all that have waited ask at once.
///
/// # How long a decision counts
///
/// For the [`ttl`](Self::ttl), counted from the moment when the provider was asked, by a clock that
/// only runs forward: changes of the wall clock have no effect. A provider that revokes a decision
/// earlier is not heard. When the provider cannot be asked, a decision that is older still counts
/// for [`stale_if_error`](Self::stale_if_error). A request without such a decision is refused,
/// unless the provider fails open.
///
/// # Bounds
///
/// A full cache drops an older decision for a new one. A caller who sends many distinct requests
/// can thus make the cache forget. This costs questions, and no protection; during an outage it
/// also costs the decisions that would have bridged it. Key by identities instead of texts that a
/// caller chooses.
///
/// ```
/// use std::time::Duration;
/// use tower_mesh::external::{CacheKey, DecisionCache};
///
/// let cache = DecisionCache::keyed_by([CacheKey::Principal, CacheKey::Method, CacheKey::Path])
///     .ttl(Duration::from_secs(30))
///     .stale_if_error(Duration::from_secs(600))
///     .max_entries(50_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct DecisionCache(AuthorizerCache);

impl DecisionCache {
    /// A cache that is keyed by these attributes: decisions count for ten seconds, and at most
    /// 10,000 of them are kept in 16 MiB.
    pub fn keyed_by(keys: impl IntoIterator<Item = CacheKey>) -> Self {
        Self(AuthorizerCache::keyed_by(keys.into_iter().collect()))
    }

    /// The settings as a resource writes them.
    pub(crate) fn from_resource(written: &AuthorizerCache) -> Self {
        let mut settings = written.clone();
        // A cache survives that its lines have moved.
        settings.at = Position::default();
        Self(settings)
    }

    /// Sets how long a decision counts.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.ttl = ttl;
        self
    }

    /// Sets for how long after its time a decision still counts when the provider cannot be asked.
    pub fn stale_if_error(mut self, longer: Duration) -> Self {
        self.0.stale_if_error = longer;
        self
    }

    /// Sets how long a refusal counts, if not as long as a yes. Zero keeps no refusals.
    pub fn denial_ttl(mut self, ttl: Duration) -> Self {
        self.0.denial_ttl = Some(ttl);
        self
    }

    /// Bounds the number of decisions, at most one million.
    pub fn max_entries(mut self, most: u32) -> Self {
        self.0.max_entries = most;
        self
    }

    /// Bounds the bytes of all decisions and their keys. The tables of the cache take 12 bytes per
    /// decision in addition.
    pub fn max_bytes(mut self, most: u32) -> Self {
        self.0.max_bytes = most;
        self
    }

    /// The attributes that find a decision.
    #[must_use]
    pub fn keys(&self) -> &[CacheKey] {
        &self.0.keys
    }

    /// What is wrong with the settings, if anything is.
    pub(crate) fn mistake(&self) -> Option<String> {
        let most = AuthorizerCache::MOST_ENTRIES;
        if self.0.keys.is_empty() {
            return Some("a cache without keys would give everybody one decision".to_owned());
        }
        if self.0.ttl.is_zero() {
            return Some("with a ttl of zero nothing is cached".to_owned());
        }
        let fewest = AuthorizerCache::FEWEST_BYTES;
        if self.0.max_bytes < fewest || !(1..=most).contains(&self.0.max_entries) {
            let message = format!("max_entries is 1 to {most}, and max_bytes {fewest} or more");
            return Some(message);
        }
        let wrong = self.0.keys.iter().find_map(|key| match key {
            CacheKey::Header(name) => HeaderName::try_from(name).err().map(|_| name),
            _ => None,
        });
        wrong.map(|name| format!("{name:?} is no header name"))
    }

    /// Whether the provider is best asked after tokens are verified.
    pub(crate) fn needs_token(&self) -> bool {
        self.0.keys.iter().any(CacheKey::needs_token)
    }

    pub(super) fn settings(&self) -> &AuthorizerCache {
        &self.0
    }
}
