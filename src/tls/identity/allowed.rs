//! The ids that a server may have: a fixed list, or one that is asked for at each handshake.

use std::fmt;
use std::sync::Arc;

use crate::identity::{SpiffeId, TrustDomain};

/// The identities that may answer at a destination: an exact list, never a pattern.
///
/// ```
/// use tower_mesh::identity::SpiffeId;
/// use tower_mesh::tls::AllowedIds;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let charts = SpiffeId::new("spiffe://cluster.local/ns/default/sa/charts")?;
/// // From configuration …
/// let fixed: AllowedIds = [charts.clone()].into_iter().collect();
/// // … or from a registry of the application, which is asked for each handshake.
/// let asked = AllowedIds::listed_by(move || vec![charts.clone()]);
/// # let _ = (fixed, asked);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AllowedIds(Ids);

#[derive(Clone)]
enum Ids {
    Exact(Arc<[SpiffeId]>),
    ListedBy(Arc<dyn Fn() -> Vec<SpiffeId> + Send + Sync>),
    AnyoneOf(TrustDomain),
}

impl AllowedIds {
    /// The list that a function returns. It is called for every handshake, and every second for
    /// each open connection: a connection whose id is no longer listed is closed within 5 s. The
    /// function must not block. An empty list refuses every server.
    #[must_use]
    pub fn listed_by(list: impl Fn() -> Vec<SpiffeId> + Send + Sync + 'static) -> Self {
        Self(Ids::ListedBy(Arc::new(list)))
    }

    /// Ways to accept more than an explicit list of ids.
    #[must_use]
    pub fn danger() -> DangerousAllowedIds {
        DangerousAllowedIds(())
    }

    /// Whether the list is empty now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Ids::Exact(ids) => ids.is_empty(),
            Ids::ListedBy(list) => list().is_empty(),
            Ids::AnyoneOf(_) => false,
        }
    }

    /// Whether only ids of such trust domains may answer.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn are_of(&self, mut is_one: impl FnMut(&TrustDomain) -> bool) -> bool {
        let mut all = |ids: &[SpiffeId]| ids.iter().all(|id| is_one(id.trust_domain()));
        match &self.0 {
            Ids::Exact(ids) => all(ids),
            Ids::ListedBy(list) => all(&list()),
            Ids::AnyoneOf(domain) => is_one(domain),
        }
    }

    pub(in crate::tls) fn allows(&self, id: &SpiffeId) -> bool {
        match &self.0 {
            Ids::Exact(ids) => ids.contains(id),
            Ids::ListedBy(list) => list().contains(id),
            Ids::AnyoneOf(domain) => id.trust_domain() == domain,
        }
    }

    /// Whether it is the same list. Two functions that list are not compared by what they return.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ids::Exact(these), Ids::Exact(others)) => these == others,
            (Ids::ListedBy(this), Ids::ListedBy(other)) => Arc::ptr_eq(this, other),
            (Ids::AnyoneOf(this), Ids::AnyoneOf(other)) => this == other,
            _ => false,
        }
    }

    /// The ids that may answer, for errors: the first few of them.
    pub(in crate::tls) fn in_words(&self) -> String {
        match &self.0 {
            Ids::Exact(ids) => few(ids, "or"),
            Ids::ListedBy(list) => few(&list(), "or"),
            Ids::AnyoneOf(domain) => format!("any workload of trust domain {domain}"),
        }
    }

    /// Whether the list may change: [`listed_by`](Self::listed_by).
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self.0, Ids::ListedBy(_))
    }
}

/// The first few of a list, and how many follow.
pub(in crate::tls) fn few(names: &[impl fmt::Display], last: &str) -> String {
    let shown: Vec<_> = names.iter().take(MOST).map(ToString::to_string).collect();
    match (shown.split_last(), names.len().saturating_sub(MOST)) {
        (None, _) => "none".to_owned(),
        (Some((only, [])), _) => only.clone(),
        (Some((end, before)), 0) => format!("{} {last} {end}", before.join(", ")),
        (Some(_), more) => format!("{} {last} {more} more", shown.join(", ")),
    }
}

impl FromIterator<SpiffeId> for AllowedIds {
    fn from_iter<T: IntoIterator<Item = SpiffeId>>(ids: T) -> Self {
        Self(Ids::Exact(ids.into_iter().collect()))
    }
}

impl fmt::Debug for AllowedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ids::Exact(ids) => f.debug_list().entries(ids.iter()).finish(),
            Ids::ListedBy(_) => f.write_str("Listed"),
            Ids::AnyoneOf(domain) => write!(f, "AnyoneOf({domain})"),
        }
    }
}

/// Ways to accept servers without listing their ids: [`AllowedIds::danger`].
#[derive(Debug)]
pub struct DangerousAllowedIds(());

impl DangerousAllowedIds {
    /// Every workload of a trust domain, that is every id that begins with `spiffe://TD/`. Any
    /// workload that has a certificate of the domain can then answer for this destination, through
    /// a wrong address or a poisoned name, and read what is sent there.
    #[must_use]
    pub fn anyone_of(self, trust_domain: TrustDomain) -> AllowedIds {
        AllowedIds(Ids::AnyoneOf(trust_domain))
    }
}

/// How many names a sentence lists.
const MOST: usize = 4;
