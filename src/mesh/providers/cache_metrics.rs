//! The metrics of decision caches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::external::{CacheCounters, CacheCounts, Decisions};
use crate::metrics::Registry;

/// Shows the caches of one configuration after the other. Counts go on when a cache is replaced.
#[derive(Debug)]
pub(super) struct CacheMetrics {
    registry: Registry,
    shown: BTreeMap<Box<str>, Shown>,
}

/// The caches of one provider's name.
#[derive(Debug)]
struct Shown {
    counters: Arc<CacheCounters>,
    current: Arc<ArcSwapOption<Decisions>>,
}

/// Each result of a look-up, and its count.
type CountOf = fn(&CacheCounts) -> u64;
const RESULTS: [(&str, CountOf); 6] = [
    ("hit", |counts| counts.hits),
    ("miss", |counts| counts.misses),
    ("stale", |counts| counts.stale),
    ("unkeyed", |counts| counts.unkeyed),
    ("shared", |counts| counts.shared),
    ("unkept", |counts| counts.unkept),
];

impl CacheMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            shown: BTreeMap::new(),
        }
    }

    /// The counters of a provider: those of its caches of earlier, if there were some.
    pub(super) fn counters(&self, name: &str) -> Arc<CacheCounters> {
        let shown = self.shown.get(name);
        shown.map_or_else(Arc::default, |shown| Arc::clone(&shown.counters))
    }

    /// Shows these caches, by provider, and no others.
    pub(super) fn show<'a>(&mut self, caches: impl Iterator<Item = (&'a str, Arc<Decisions>)>) {
        let mut caches: BTreeMap<&str, Arc<Decisions>> = caches.collect();
        for (name, cache) in &caches {
            if !self.shown.contains_key(*name) {
                self.register(name, Arc::clone(cache.counters()));
            }
        }
        for (name, shown) in &self.shown {
            shown.current.store(caches.remove(&**name));
        }
    }

    /// Gives a name its metrics.
    fn register(&mut self, name: &str, counters: Arc<CacheCounters>) {
        let shown = Shown {
            counters,
            current: Arc::default(),
        };
        for (result, count) in RESULTS {
            let counters = Arc::clone(&shown.counters);
            self.registry.counter_of(
                "mesh_decision_cache_total",
                "Requests that a cache of a provider's decisions was asked about, by result: hit \
                 (answered without the provider), miss (the provider was asked), stale (an older \
                 decision, because the provider could not be asked), unkeyed (not cached), shared (has \
                 waited for the answer to an equal request), unkept (the decision is meant for \
                 one caller).",
                &[("provider", name), ("result", result)],
                move || Some(count(&counters.read(0, 0))).filter(|count| *count > 0),
            );
        }
        let current = Arc::clone(&shown.current);
        self.registry.gauge_of(
            "mesh_decision_cache_entries",
            "Decisions that the cache of a provider keeps.",
            &[("provider", name)],
            move || Some(current.load().as_ref()?.counts().entries as f64),
        );
        let current = Arc::clone(&shown.current);
        self.registry.gauge_of(
            "mesh_decision_cache_bytes",
            "Bytes that the decisions in the cache of a provider take.",
            &[("provider", name)],
            move || Some(current.load().as_ref()?.counts().bytes as f64),
        );
        self.shown.insert(name.into(), shown);
    }
}
