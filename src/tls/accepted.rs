use std::fmt;
use std::sync::Arc;

use crate::identity::{SpiffeId, TrustDomain};

/// Which identities may answer at a destination: an exact list, never a pattern.
///
/// ```
/// use tower_mesh::identity::SpiffeId;
/// use tower_mesh::tls::Accepted;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let charts = SpiffeId::new("spiffe://cluster.local/ns/default/sa/charts")?;
/// // As it stands in configuration …
/// let fixed: Accepted = [charts.clone()].into_iter().collect();
/// // … or as a registry of the application's says whenever it is asked.
/// let asked = Accepted::listed_by(move || vec![charts.clone()]);
/// # let _ = (fixed, asked);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Accepted(Kind);

#[derive(Clone)]
enum Kind {
    These(Arc<[SpiffeId]>),
    Listed(Arc<dyn Fn() -> Vec<SpiffeId> + Send + Sync>),
    AnyoneOf(TrustDomain),
}

impl Accepted {
    /// The list that a function returns. It is called for every handshake, and every second for each connection that stands: one whose id is
    /// no longer listed is closed within five. It must not block. An empty list accepts nobody.
    #[must_use]
    pub fn listed_by(list: impl Fn() -> Vec<SpiffeId> + Send + Sync + 'static) -> Self {
        Self(Kind::Listed(Arc::new(list)))
    }

    /// What accepts more than names that somebody wrote down.
    #[must_use]
    pub fn danger() -> DangerousAccepted {
        DangerousAccepted(())
    }

    /// Whether nobody could answer, now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::These(ids) => ids.is_empty(),
            Kind::Listed(list) => list().is_empty(),
            Kind::AnyoneOf(_) => false,
        }
    }

    pub(super) fn accepts(&self, id: &SpiffeId) -> bool {
        match &self.0 {
            Kind::These(ids) => ids.contains(id),
            Kind::Listed(list) => list().contains(id),
            Kind::AnyoneOf(domain) => id.trust_domain() == domain,
        }
    }

    /// Whether it is the same list; two functions that list are not compared by what they say.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::These(these), Kind::These(others)) => these == others,
            (Kind::Listed(this), Kind::Listed(other)) => Arc::ptr_eq(this, other),
            (Kind::AnyoneOf(this), Kind::AnyoneOf(other)) => this == other,
            _ => false,
        }
    }

    /// Who may answer, in words: a few names at most.
    pub(super) fn in_words(&self) -> String {
        let listed;
        let ids = match &self.0 {
            Kind::These(ids) => &**ids,
            Kind::Listed(list) => {
                listed = list();
                &*listed
            }
            Kind::AnyoneOf(domain) => return format!("any workload of trust domain {domain}"),
        };
        few(ids, "or")
    }

    /// Whether the answer may be another one later: [`listed_by`](Self::listed_by).
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self.0, Kind::Listed(_))
    }
}

/// The first few of a list, and how many follow.
pub(super) fn few(names: &[impl fmt::Display], last: &str) -> String {
    let shown: Vec<_> = names.iter().take(MOST).map(ToString::to_string).collect();
    match (shown.split_last(), names.len().saturating_sub(MOST)) {
        (None, _) => "none".to_owned(),
        (Some((only, [])), _) => only.clone(),
        (Some((end, before)), 0) => format!("{} {last} {end}", before.join(", ")),
        (Some(_), more) => format!("{} {last} {more} more", shown.join(", ")),
    }
}

impl FromIterator<SpiffeId> for Accepted {
    fn from_iter<T: IntoIterator<Item = SpiffeId>>(ids: T) -> Self {
        Self(Kind::These(ids.into_iter().collect()))
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::These(ids) => f.debug_list().entries(ids.iter()).finish(),
            Kind::Listed(_) => f.write_str("Listed"),
            Kind::AnyoneOf(domain) => write!(f, "AnyoneOf({domain})"),
        }
    }
}

/// Ways to accept whom nobody named: [`Accepted::danger`].
#[derive(Debug)]
pub struct DangerousAccepted(());

impl DangerousAccepted {
    /// Every workload of a trust domain, `spiffe://TD/` and whatever follows. Whoever gets any certificate in it can then stand in for this
    /// destination, by a wrong address or a poisoned name, and read what is sent there.
    #[must_use]
    pub fn anyone_of(self, trust_domain: TrustDomain) -> Accepted {
        Accepted(Kind::AnyoneOf(trust_domain))
    }
}

/// Names that a sentence lists.
const MOST: usize = 4;
