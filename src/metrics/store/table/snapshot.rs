//! What a scrape sees.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::SeriesTable;
use crate::metrics::store::series::{Base, BaseId};
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
    _reading: MutexGuard<'t, ()>,
}

impl SeriesTable {
    /// Moves what was counted under folded descriptions, and retires old descriptions that came
    /// only with refused requests.
    pub(in crate::metrics) fn snapshot(&self, now: Instant) -> Snapshot<'_> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.second(now);
        let state = |(id, base): (BaseId, &Base)| {
            let Some((visibility, name)) = &base.described else {
                return State::Shown;
            };
            let state = visibility.settle(now);
            if state == State::Folded {
                self.move_to(*name, id);
            }
            state
        };
        Snapshot {
            table: self,
            states: self.every_base().map(state).collect(),
            _reading: reading,
        }
    }

    /// What a thread still adds to the old base is moved before the next scrape.
    fn move_to(&self, name: BaseId, base: BaseId) {
        let Some(base) = self.get(base) else {
            return;
        };
        for series in base.requests() {
            let tags = series.tags.as_deref();
            let to = self.series_for(name, BaseId::LAST_RESORT, series.outcome, tags);
            if let Some(to) = to {
                to.take(series);
            }
        }
        let to = self.get(name).filter(|_| base.messages().is_some());
        if let Some(to) = to.and_then(|name| name.messages.local()) {
            base.messages.iter().for_each(|from| to.take(from));
        }
    }
}

impl<'t> Snapshot<'t> {
    /// Every base that is shown.
    pub(in crate::metrics) fn shown(&self) -> impl Iterator<Item = (BaseId, &'t Base)> {
        self.of(State::Shown)
    }

    /// Every base that is hidden with its counts. They are still part of a sum that they were part
    /// of.
    pub(in crate::metrics) fn retired(&self) -> impl Iterator<Item = (BaseId, &'t Base)> {
        self.of(State::Retired)
    }

    fn of(&self, wanted: State) -> impl Iterator<Item = (BaseId, &'t Base)> {
        let bases = self.table.every_base().zip(&self.states);
        bases.filter_map(move |(base, state)| (*state == wanted).then_some(base))
    }
}
