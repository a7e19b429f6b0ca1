//! What a scrape sees.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use super::SeriesTable;
use super::tagged::{Tagged, TaggedSeries};
use crate::metrics::store::series::{Base, BaseId, RequestSeries};
use crate::metrics::store::visibility::State;

/// The bases as they were at the beginning of a scrape.
///
/// A description may be hidden at any time, and its counts then belong to another base or to none.
/// A scrape that looked at each base twice could count them twice or not at all, so it decides
/// once, and one scrape at a time moves counts or reads them.
#[derive(Debug)]
pub(in crate::metrics) struct Snapshot<'t> {
    table: &'t SeriesTable,
    states: Vec<State>,
    evaluated: Option<Arc<TaggedSeries>>,
    replaced: MutexGuard<'t, Vec<Arc<TaggedSeries>>>,
}

impl SeriesTable {
    /// Moves what was counted under folded descriptions or by values of expressions that were
    /// replaced, and retires old descriptions that came only with refused requests.
    pub(in crate::metrics) fn snapshot(&self, now: Instant) -> Snapshot<'_> {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.second(now);
        self.give_back(&mut replaced);
        let state = |(id, base): (BaseId, &Base)| {
            let Some((visibility, name)) = &base.described else {
                return State::Shown;
            };
            let state = visibility.settle(now);
            if state == State::Folded {
                self.fold_into(*name, id);
            }
            state
        };
        let snapshot = Snapshot {
            table: self,
            states: self.every_base().map(state).collect(),
            evaluated: self.evaluated.load_full(),
            replaced,
        };
        for folded in snapshot.tagged(State::Folded) {
            let described = self
                .get(folded.base)
                .and_then(|base| base.described.as_ref());
            if let Some((_, name)) = described {
                self.move_to(*name, &folded.series);
            }
        }
        snapshot
    }

    /// What a thread still adds to the old base is moved before the next scrape.
    fn fold_into(&self, name: BaseId, base: BaseId) {
        let Some(base) = self.get(base) else {
            return;
        };
        base.requests()
            .for_each(|series| self.move_to(name, series));
        let to = self.get(name).filter(|_| base.messages().is_some());
        if let Some(to) = to.and_then(|name| name.messages.local()) {
            base.messages.iter().for_each(|from| to.take(from));
        }
    }

    /// Moves the counts of a series to the one with the same values of this base, or to the one
    /// that has most of its labels.
    pub(super) fn move_to(&self, base: BaseId, series: &RequestSeries) {
        let tags = series.tags.as_deref();
        let last = BaseId::LAST_RESORT;
        self.with_series(base, last, series.outcome, tags, |to| to.take(series));
    }
}

impl<'t> Snapshot<'t> {
    /// Every base that is shown.
    pub(in crate::metrics) fn shown(&self) -> impl Iterator<Item = (BaseId, &'t Base)> {
        self.of(State::Shown)
    }

    /// Every series with values of expressions whose base is shown.
    pub(in crate::metrics) fn shown_tagged(&self) -> impl Iterator<Item = &Tagged> {
        self.tagged(State::Shown)
    }

    /// Every base that is hidden with its counts. They are still part of a sum that they were part
    /// of.
    pub(in crate::metrics) fn retired(&self) -> impl Iterator<Item = (BaseId, &'t Base)> {
        self.of(State::Retired)
    }

    /// Every series with values of expressions whose base is hidden with its counts.
    pub(in crate::metrics) fn retired_tagged(&self) -> impl Iterator<Item = &Tagged> {
        self.tagged(State::Retired)
    }

    fn of(&self, wanted: State) -> impl Iterator<Item = (BaseId, &'t Base)> {
        let bases = self.table.every_base().zip(&self.states);
        bases.filter_map(move |(base, state)| (*state == wanted).then_some(base))
    }

    fn tagged(&self, wanted: State) -> impl Iterator<Item = &Tagged> {
        let all = self.evaluated.iter().chain(&*self.replaced);
        let all = all.flat_map(|series| series.iter());
        all.filter(move |tagged| self.states.get(tagged.base.number() as usize) == Some(&wanted))
    }
}
