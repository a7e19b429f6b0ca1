//! Adds requests, messages and connections to the series.

use std::sync::atomic::Ordering;

use super::SeriesTable;
use crate::message::ResponseFlags;
use crate::metrics::store::exemplars::SpanIds;
use crate::metrics::store::histogram::Observed;
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::reserved::reserve;
use crate::metrics::store::series::{
    BaseId, ConnectionCells, ConnectionSeries, Messages, RequestSeries,
};
use crate::metrics::store::tags::TagValues;
use crate::striped::Striped;

impl SeriesTable {
    /// Adds one request to all request families. If the series exists, this is wait-free and
    /// allocates only a stripe's first copy.
    pub(in crate::metrics) fn add_request(
        &self,
        base: BaseId,
        overflow: BaseId,
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
        observed: Observed,
        span: Option<SpanIds>,
    ) {
        let mut at = base;
        if let Some((visibility, name)) = self.get(base).and_then(|base| base.described.as_ref()) {
            if !visibility.is_shown() {
                at = *name;
            } else if !outcome.is_refusal() {
                visibility.accept();
            }
        }
        self.with_series(at, overflow, outcome, tags, |series| {
            series.observe(observed, span);
        });
    }

    /// Lets a change be made to the series of these labels, else to the one that keeps most of them
    /// and has room.
    pub(super) fn with_series(
        &self,
        base: BaseId,
        overflow: BaseId,
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
        change: impl FnOnce(&RequestSeries),
    ) {
        // The guard tells that this thread may still add.
        let tagged = tags.map(|tags| (self.evaluated.load(), tags));
        let tagged = tagged.as_ref().and_then(|(among, tags)| {
            let among = among.as_deref()?;
            self.tagged_series(among, base, outcome, tags)
        });
        let series = tagged
            .or_else(|| self.request_series(base, outcome))
            .or_else(|| {
                let (_, name) = self.get(base)?.described.as_ref()?;
                self.request_series(*name, outcome)
            })
            .or_else(|| self.request_series(base, OutcomeLabels::UNKNOWN))
            .or_else(|| self.request_series(overflow, outcome))
            .or_else(|| self.request_series(BaseId::LAST_RESORT, OutcomeLabels::UNKNOWN));
        if let Some(series) = series {
            change(series);
        }
    }

    fn request_series(&self, base: BaseId, outcome: OutcomeLabels) -> Option<&RequestSeries> {
        let is_last = base == BaseId::LAST_RESORT;
        let base = self.get(base)?;
        if let Some(series) = base.untagged(outcome) {
            return Some(series);
        }
        let outcomes = reserve(&base.outcomes, base.most_outcomes(outcome))?;
        let reserved = reserve(&self.series, base.room(is_last))?;
        let series = RequestSeries::new(outcome, None, self.chosen.as_ref());
        let hash = RequestSeries::hash(outcome, None);
        let is = |known: &RequestSeries| known.is(outcome, None);
        let (series, is_new) = base.requests.get_or_add(hash, is, series)?;
        outcomes.keep_if(is_new);
        reserved.keep_if(is_new);
        Some(series)
    }

    /// Adds gRPC messages.
    pub(in crate::metrics) fn add_messages(&self, base: BaseId, messages: Messages) {
        let counts = self.get(base).and_then(|base| match &base.described {
            Some((visibility, name)) if !visibility.is_shown() => self.get(*name),
            _ => Some(base),
        });
        if let Some(cells) = counts.and_then(|base| base.messages.local()) {
            cells.request.fetch_add(messages.request, Ordering::Relaxed);
            cells
                .response
                .fetch_add(messages.response, Ordering::Relaxed);
        }
    }

    /// The connection families' cells of this thread.
    pub(in crate::metrics) fn connection(
        &self,
        base: BaseId,
        overflow: BaseId,
        flags: ResponseFlags,
    ) -> Option<&ConnectionCells> {
        self.connection_series(base, flags)
            .or_else(|| self.connection_series(overflow, flags))
            .or_else(|| self.connection_series(BaseId::LAST_RESORT, ResponseFlags::none()))?
            .cells
            .local()
    }

    fn connection_series(&self, base: BaseId, flags: ResponseFlags) -> Option<&ConnectionSeries> {
        let is_last = base == BaseId::LAST_RESORT;
        let base = self.get(base)?;
        let is = |series: &ConnectionSeries| series.flags == flags;
        let hash = u64::from(flags.bits()) << 32;
        if let Some(series) = base.connections.get(hash, is) {
            return Some(series);
        }
        let reserved = reserve(&self.tcp_series, base.room(is_last))?;
        let series = ConnectionSeries {
            flags,
            cells: Striped::new(),
        };
        let (series, is_new) = base.connections.get_or_add(hash, is, series)?;
        reserved.keep_if(is_new);
        Some(series)
    }
}
