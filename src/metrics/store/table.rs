#![expect(
    clippy::disallowed_types,
    reason = "one lock is taken once for each set of base labels, the other by scrapes and changes"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use super::append_only_map::AppendOnlyMap;
use super::buckets::Buckets;
use super::labels::BaseLabels;
use super::reserved::reserve;
use super::series::{Base, BaseId, MAX_BASES};
use super::visibility::Visibility;
use crate::striped::Striped;

mod count;
mod expressions;
mod snapshot;
mod tagged;

pub(in crate::metrics) use snapshot::Snapshot;
pub(in crate::metrics) use tagged::Tagged;
use tagged::TaggedSeries;

/// Every series of the request and connection families.
///
/// Base labels are interned into numbered [`Base`]s, so that a record holds a number and no
/// reference count; each base holds its series. Both are bounded: past the bound, calls are
/// counted under labels that say `unknown`.
#[derive(Debug)]
pub(in crate::metrics) struct SeriesTable {
    bases: Box<[OnceLock<Box<Base>>]>,
    interned: Mutex<HashMap<String, BaseId>>,
    /// The series that values of expressions made; `None` without an expression.
    evaluated: ArcSwapOption<TaggedSeries>,
    /// Those of expressions that were replaced while a request still added to them. Locked by what
    /// moves or reads counts.
    replaced: Mutex<Vec<Arc<TaggedSeries>>>,
    described: AtomicUsize,
    series: AtomicUsize,
    /// Those of them that values of expressions made.
    tagged: AtomicUsize,
    tcp_series: AtomicUsize,
    /// The names of peers that all places remember.
    pub(in crate::metrics) names: AtomicUsize,
    began: Instant,
    /// The latest second that a request or a scrape has noted.
    latest: AtomicU64,
    /// The buckets, where they are not Envoy's.
    chosen: Option<Arc<Buckets>>,
}

/// What to do if a base does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum OnMissing {
    Add,
    /// Add a base for a peer's metadata; the base is that of the peer's name.
    Describe(BaseId),
    Use(BaseId),
}

/// A base, and whether it was added by this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct Interned {
    pub(in crate::metrics) base: BaseId,
    pub(in crate::metrics) is_new: bool,
}

impl SeriesTable {
    /// `chosen` are the buckets where they are not Envoy's.
    pub(in crate::metrics) fn new(chosen: Option<Buckets>) -> Self {
        let table = Self {
            bases: (0..MAX_BASES).map(|_| OnceLock::new()).collect(),
            interned: Mutex::default(),
            evaluated: ArcSwapOption::empty(),
            replaced: Mutex::default(),
            described: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            tagged: AtomicUsize::new(0),
            tcp_series: AtomicUsize::new(0),
            names: AtomicUsize::new(0),
            began: Instant::now(),
            latest: AtomicU64::new(0),
            chosen: chosen.map(Arc::new),
        };
        table.overflow_base(&BaseLabels::unknown("unknown", "unknown"));
        table
    }

    pub(in crate::metrics) fn buckets(&self) -> &Buckets {
        self.chosen.as_deref().unwrap_or_else(|| Buckets::usual())
    }

    /// The base with these labels; `overflow` if there is no room for a new one.
    pub(in crate::metrics) fn base(
        &self,
        labels: &BaseLabels<'_>,
        overflow: BaseId,
        on_missing: OnMissing,
    ) -> Interned {
        self.intern(labels, overflow, on_missing, false)
    }

    /// A base that counts what has no room under its own labels.
    pub(in crate::metrics) fn overflow_base(&self, labels: &BaseLabels<'_>) -> BaseId {
        self.intern(labels, BaseId::LAST_RESORT, OnMissing::Add, true)
            .base
    }

    fn intern(
        &self,
        labels: &BaseLabels<'_>,
        overflow: BaseId,
        on_missing: OnMissing,
        takes_overflow: bool,
    ) -> Interned {
        let text = labels.render();
        let key = format!("{text},{}", labels.security_policy);
        let known = |base| Interned {
            base,
            is_new: false,
        };
        let mut interned = self.interned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = interned.get(&key) {
            return known(*base);
        }
        let (described, overflow) = match on_missing {
            OnMissing::Add => (None, overflow),
            OnMissing::Describe(name) => {
                let Some(reserved) = reserve(&self.described, MAX_DESCRIBED) else {
                    return known(name);
                };
                let visibility = Visibility::new(self.latest.load(Ordering::Relaxed));
                (Some((reserved, visibility, name)), name)
            }
            OnMissing::Use(base) => return known(base),
        };
        let used = interned.len();
        let (Some(slot), Ok(number)) = (self.bases.get(used), u32::try_from(used)) else {
            return known(overflow);
        };
        let described = described.map(|(reserved, visibility, name)| {
            reserved.keep_if(true);
            (visibility, name)
        });
        let base = Box::new(Base {
            labels: text.into(),
            security_policy: labels.security_policy,
            takes_overflow,
            described,
            outcomes: AtomicUsize::new(0),
            tagged: AtomicUsize::new(0),
            requests: AppendOnlyMap::new(),
            messages: Striped::new(),
            connections: AppendOnlyMap::new(),
        });
        if slot.set(base).is_err() {
            return known(overflow);
        }
        let base = BaseId::new(number);
        interned.insert(key, base);
        Interned { base, is_new: true }
    }

    /// Seconds since the table was made, and at least as many as a request or a scrape has noted.
    pub(in crate::metrics) fn second(&self, now: Instant) -> u64 {
        let second = now.saturating_duration_since(self.began).as_secs();
        let latest = self.latest.load(Ordering::Relaxed);
        if second > latest {
            self.latest.fetch_max(second, Ordering::Relaxed);
        }
        second.max(latest)
    }

    fn every_base(&self) -> impl Iterator<Item = (BaseId, &Base)> {
        let made = self.bases.iter().map_while(|slot| slot.get());
        (0..)
            .map(BaseId::new)
            .zip(made)
            .map(|(id, base)| (id, &**base))
    }

    /// Whether a base that metadata created is shown; `None` for another base.
    pub(in crate::metrics) fn visibility(&self, base: BaseId) -> Option<&Visibility> {
        Some(&self.get(base)?.described.as_ref()?.0)
    }

    /// Hides a peer's description. The next scrape moves its counts to the peer's name.
    pub(in crate::metrics) fn fold(&self, base: BaseId) {
        if let Some(visibility) = self.visibility(base) {
            visibility.fold();
        }
    }

    pub(in crate::metrics) fn get(&self, base: BaseId) -> Option<&Base> {
        Some(self.bases.get(base.number() as usize)?.get()?)
    }
}

/// Bases that metadata may create in all, so that there is always room for the names that peers
/// prove.
const MAX_DESCRIBED: usize = MAX_BASES / 2;

#[cfg(test)]
mod tests;
