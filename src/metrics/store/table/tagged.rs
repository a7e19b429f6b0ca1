//! The series of requests that have values for labels with an expression.

use std::collections::BTreeSet;

use crate::metrics::store::append_only_map::AppendOnlyMap;
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::series::{BaseId, RequestSeries};
use crate::metrics::store::tags::TagValues;

/// The series that values of one set of expressions made.
///
/// A table has one at a time, and another for another set of expressions. The old one is shown
/// until no request adds to it any more. Then each of its series gives its place back, and its
/// counts go to the series of those of its values whose expressions are still there. So a counter
/// goes on if all its expressions do, and places do not run out however often expressions change.
#[derive(Debug)]
pub(super) struct TaggedSeries {
    pub(super) expressions: BTreeSet<Box<str>>,
    series: AppendOnlyMap<Tagged, 256>,
}

/// A series with values, and the base whose labels it has.
#[derive(Debug)]
pub(in crate::metrics) struct Tagged {
    pub(in crate::metrics) base: BaseId,
    pub(in crate::metrics) series: RequestSeries,
}

impl TaggedSeries {
    pub(super) fn new(expressions: BTreeSet<Box<str>>) -> Self {
        Self {
            expressions,
            series: AppendOnlyMap::new(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tagged> {
        self.series.iter()
    }

    pub(super) fn get(
        &self,
        base: BaseId,
        outcome: OutcomeLabels,
        tags: &TagValues,
    ) -> Option<&RequestSeries> {
        let hash = Tagged::hash(base, outcome, tags);
        let found = self.series.get(hash, |known| known.is(base, outcome, tags));
        found.map(|tagged| &tagged.series)
    }

    /// Adds a series that has values, unless another thread came first. `true` if it is the new
    /// one.
    pub(super) fn get_or_add(
        &self,
        base: BaseId,
        tags: &TagValues,
        series: RequestSeries,
    ) -> Option<(&RequestSeries, bool)> {
        let outcome = series.outcome;
        let hash = Tagged::hash(base, outcome, tags);
        let is = |known: &Tagged| known.is(base, outcome, tags);
        let (added, is_new) = self.series.get_or_add(hash, is, Tagged { base, series })?;
        Some((&added.series, is_new))
    }
}

impl Tagged {
    fn hash(base: BaseId, outcome: OutcomeLabels, tags: &TagValues) -> u64 {
        let base = u64::from(base.number()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        base ^ RequestSeries::hash(outcome, Some(tags))
    }

    fn is(&self, base: BaseId, outcome: OutcomeLabels, tags: &TagValues) -> bool {
        self.base == base && self.series.is(outcome, Some(tags))
    }
}
