//! The numbers of Istio's families at one moment.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::output::Output;
use crate::message::ResponseFlags;
use crate::metrics::store::exemplars::Kept;
use crate::metrics::store::histogram::RequestTotals;
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::series::{Base, BaseId, ConnectionCells, Messages, RequestSeries};
use crate::metrics::store::table::{SeriesTable, Tagged};
use crate::metrics::store::tags::TagValues;

/// Half a kilobyte for each set of labels, while their text takes sixty.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) requests: Vec<RequestRow>,
    pub(super) messages: Vec<(BaseId, Messages)>,
    pub(super) connections: Vec<ConnectionRow>,
}

#[derive(Debug)]
pub(super) struct RequestRow {
    base: BaseId,
    outcome: OutcomeLabels,
    pub(super) tags: Option<Arc<TagValues>>,
    pub(super) totals: RequestTotals,
}

#[derive(Debug)]
pub(super) struct ConnectionRow {
    base: BaseId,
    flags: ResponseFlags,
    pub(super) totals: [u64; CONNECTION_COUNTERS.len()],
}

impl Rows {
    /// Of these bases, and of the series that values of expressions made.
    pub(super) fn read<'t>(
        bases: impl Iterator<Item = (BaseId, &'t Base)>,
        tagged: impl Iterator<Item = &'t Tagged>,
    ) -> Self {
        let mut rows = Self::default();
        for (id, base) in bases {
            let requests = base.requests();
            let requests = requests.filter_map(|series| RequestRow::read(id, series));
            rows.requests.extend(requests);
            let messages = base.messages().map(|messages| (id, messages));
            rows.messages.extend(messages);
            let connections = base.connections().map(|series| ConnectionRow {
                base: id,
                flags: series.flags,
                totals: CONNECTION_COUNTERS.map(|counter| series.total(counter)),
            });
            rows.connections.extend(connections);
        }
        let tagged = tagged.filter_map(|tagged| RequestRow::read(tagged.base, &tagged.series));
        rows.requests.extend(tagged);
        rows
    }
}

impl RequestRow {
    /// `None` for a series that was moved, which has nothing to show.
    fn read(base: BaseId, series: &RequestSeries) -> Option<Self> {
        let totals = series.totals();
        (totals.count() > 0).then(|| Self {
            base,
            outcome: series.outcome,
            tags: series.tags.clone(),
            totals,
        })
    }

    pub(super) fn labels(&self, table: &SeriesTable) -> Option<String> {
        let base = table.get(self.base)?;
        let rest = self.outcome.render(base.security_policy);
        Some(format!("{},{rest}", base.labels))
    }

    /// The exemplars of now, which may be newer than the totals.
    pub(super) fn exemplars(&self, output: &impl Output, table: &SeriesTable) -> Option<Kept> {
        if !output.takes_exemplars() {
            return None;
        }
        table.exemplars(self.base, self.outcome, self.tags.as_deref())
    }
}

impl ConnectionRow {
    pub(super) fn labels(&self, table: &SeriesTable) -> Option<String> {
        let base = table.get(self.base)?;
        Some(format!(
            "{},request_protocol=\"tcp\",response_flags=\"{}\",connection_security_policy=\"{}\"",
            base.labels, self.flags, base.security_policy
        ))
    }
}

type ConnectionCounter = fn(&ConnectionCells) -> &AtomicU64;

const CONNECTION_COUNTERS: [ConnectionCounter; 4] = [
    |cells| &cells.opened,
    |cells| &cells.closed,
    |cells| &cells.sent,
    |cells| &cells.received,
];
