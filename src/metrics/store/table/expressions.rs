//! Which expressions give values, and where requests with such values are counted.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::SeriesTable;
use super::tagged::{Tagged, TaggedSeries};
use crate::metrics::store::exemplars::Kept;
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::reserved::reserve;
use crate::metrics::store::series::{BaseId, MAX_TAGGED, RequestSeries};
use crate::metrics::store::tags::TagValues;

impl SeriesTable {
    /// Says which expressions give values from now on; `show` is called when nobody reads. Values
    /// of other expressions, which a request that began earlier may still bring, are not counted
    /// apart.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "a mesh has expressions")
    )]
    pub(in crate::metrics) fn evaluate(
        &self,
        expressions: BTreeSet<Box<str>>,
        show: impl FnOnce(),
    ) {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        show();
        let is_same = match &*self.evaluated.load() {
            Some(current) => current.expressions == expressions,
            None => expressions.is_empty(),
        };
        if is_same {
            return;
        }
        let new = (!expressions.is_empty()).then(|| Arc::new(TaggedSeries::new(expressions)));
        replaced.extend(self.evaluated.swap(new));
        self.give_back(&mut replaced);
    }

    /// Gives the places of series back whose expressions were replaced, unless a request may still
    /// add to them.
    pub(super) fn give_back(&self, replaced: &mut Vec<Arc<TaggedSeries>>) {
        replaced.retain_mut(|replaced| {
            // Requests hold a guard while they add. When the swap returned, each guard was counted
            // as a reference, as `get_mut` would be unsound otherwise; and no new one is made.
            let Some(unused) = Arc::get_mut(replaced) else {
                return true;
            };
            unused.iter().for_each(|tagged| self.move_from(tagged));
            false
        });
    }

    fn move_from(&self, tagged: &Tagged) {
        let Tagged { base, series } = tagged;
        // The place is free before another is looked for, so that there is one.
        self.series.fetch_sub(1, Ordering::Relaxed);
        self.tagged.fetch_sub(1, Ordering::Relaxed);
        if let Some(base) = self.get(*base) {
            base.tagged.fetch_sub(1, Ordering::Relaxed);
        }
        if !series.is_empty() {
            self.move_to(*base, series);
        }
    }

    /// The series of these values, or of those whose expression is known. `None` if there is none,
    /// or no room.
    pub(super) fn tagged_series<'s>(
        &self,
        among: &'s TaggedSeries,
        id: BaseId,
        outcome: OutcomeLabels,
        tags: &TagValues,
    ) -> Option<&'s RequestSeries> {
        if let Some(series) = among.get(id, outcome, tags) {
            return Some(series);
        }
        if !tags.are_of(&among.expressions) {
            let known = tags.only(&among.expressions)?;
            return self.tagged_series(among, id, outcome, &known);
        }
        let base = self.get(id)?;
        let tagged = reserve(&self.tagged, MAX_TAGGED)?;
        let tagged_of_base = reserve(&base.tagged, base.most_outcomes(outcome))?;
        let reserved = reserve(&self.series, base.room(id == BaseId::LAST_RESORT))?;
        let series = RequestSeries::new(outcome, Some(tags), self.chosen.as_ref());
        let (series, is_new) = among.get_or_add(id, tags, series)?;
        tagged.keep_if(is_new);
        tagged_of_base.keep_if(is_new);
        reserved.keep_if(is_new);
        Some(series)
    }

    /// The exemplars of a series as they are now; `None` if it is not there.
    pub(in crate::metrics) fn exemplars(
        &self,
        base: BaseId,
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
    ) -> Option<Kept> {
        let read = |series: &RequestSeries| series.exemplars.read();
        match tags {
            None => self.get(base)?.untagged(outcome).map(read),
            Some(tags) => {
                let current = self.evaluated.load();
                current.as_deref()?.get(base, outcome, tags).map(read)
            }
        }
    }
}

#[cfg(test)]
mod tests;
