use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::append_only_map::AppendOnlyMap;
use super::buckets::Buckets;
use super::exemplars::{Exemplars, SpanIds};
use super::histogram::{ChosenCells, Observed, RequestCells, RequestTotals, take};
use super::labels::OutcomeLabels;
use super::tags::TagValues;
use super::visibility::Visibility;
use crate::message::ResponseFlags;
use crate::striped::Striped;

/// The number of a [`Base`] in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct BaseId(u32);

/// The series that have the same base labels. The fields that each request reads come first and
/// start on a cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(in crate::metrics) struct Base {
    /// Set if metadata of a peer created this base: whether it is shown, and the base of the peer's
    /// name, which counts while it is not.
    pub(in crate::metrics) described: Option<(Visibility, BaseId)>,
    /// Without values of expressions.
    pub(in crate::metrics) requests: AppendOnlyMap<RequestSeries, 8>,
    pub(in crate::metrics) messages: Striped<MessageCells>,
    pub(in crate::metrics) connections: AppendOnlyMap<ConnectionSeries, 2>,
    pub(in crate::metrics) outcomes: AtomicUsize,
    /// Its series that values of expressions made, which are elsewhere and no outcomes of their own.
    pub(in crate::metrics) tagged: AtomicUsize,
    pub(in crate::metrics) labels: Box<str>,
    pub(in crate::metrics) security_policy: &'static str,
    /// Whether this base counts what has no room elsewhere, and so may use the room that is kept
    /// for that.
    pub(in crate::metrics) takes_overflow: bool,
}

/// The request families of one set of labels.
#[derive(Debug)]
pub(in crate::metrics) struct RequestSeries {
    pub(in crate::metrics) outcome: OutcomeLabels,
    /// Values of labels with an expression.
    pub(in crate::metrics) tags: Option<Arc<TagValues>>,
    cells: Cells,
    pub(in crate::metrics) exemplars: Exemplars,
}

#[derive(Debug)]
enum Cells {
    Usual(Striped<RequestCells>),
    Chosen(Striped<ChosenCells>, Arc<Buckets>),
}

/// The gRPC message families, which have only the base labels.
#[derive(Debug, Default)]
pub(in crate::metrics) struct MessageCells {
    pub(in crate::metrics) request: AtomicU64,
    pub(in crate::metrics) response: AtomicU64,
}

/// gRPC messages of the request and of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct Messages {
    pub(in crate::metrics) request: u64,
    pub(in crate::metrics) response: u64,
}

/// The connection families of one set of labels.
#[derive(Debug)]
pub(in crate::metrics) struct ConnectionSeries {
    pub(in crate::metrics) flags: ResponseFlags,
    pub(in crate::metrics) cells: Striped<ConnectionCells>,
}

#[derive(Debug, Default)]
pub(in crate::metrics) struct ConnectionCells {
    pub(in crate::metrics) opened: AtomicU64,
    pub(in crate::metrics) closed: AtomicU64,
    pub(in crate::metrics) sent: AtomicU64,
    pub(in crate::metrics) received: AtomicU64,
}

impl BaseId {
    /// The number of bits of a number.
    pub(in crate::metrics) const BITS: u32 = MAX_BASES.ilog2() + 1;

    pub(in crate::metrics) const fn number(self) -> u32 {
        self.0
    }

    /// The base with this number, which may not exist.
    pub(in crate::metrics) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The base that every table has; all its labels say `unknown`.
    pub(in crate::metrics) const LAST_RESORT: Self = Self(0);
}

impl Base {
    pub(in crate::metrics) fn requests(&self) -> impl Iterator<Item = &RequestSeries> {
        self.requests.iter()
    }

    /// The series of an outcome, without values of expressions.
    pub(in crate::metrics) fn untagged(&self, outcome: OutcomeLabels) -> Option<&RequestSeries> {
        let hash = RequestSeries::hash(outcome, None);
        self.requests.get(hash, |series| series.is(outcome, None))
    }

    /// The gRPC messages; `None` when no gRPC call had these labels.
    pub(in crate::metrics) fn messages(&self) -> Option<Messages> {
        self.messages
            .iter()
            .fold(None, |total: Option<Messages>, cells| {
                let total = total.unwrap_or_default();
                Some(Messages {
                    request: total.request + cells.request.load(Ordering::Relaxed),
                    response: total.response + cells.response.load(Ordering::Relaxed),
                })
            })
    }

    pub(in crate::metrics) fn connections(&self) -> impl Iterator<Item = &ConnectionSeries> {
        self.connections.iter()
    }

    /// How many outcomes it may tell apart; there is always room for the one that says `unknown`.
    pub(super) fn most_outcomes(&self, outcome: OutcomeLabels) -> usize {
        match &self.described {
            _ if outcome == OutcomeLabels::UNKNOWN => usize::MAX,
            Some(_) => MAX_OUTCOMES_DESCRIBED,
            None => MAX_OUTCOMES,
        }
    }

    pub(in crate::metrics) const fn room(&self, is_last: bool) -> usize {
        if is_last {
            MAX_SERIES
        } else if self.takes_overflow {
            MAX_SERIES - 1
        } else {
            MAX_SERIES - KEPT_BACK
        }
    }
}

impl MessageCells {
    pub(in crate::metrics) fn take(&self, from: &Self) {
        take(&self.request, &from.request);
        take(&self.response, &from.response);
    }
}

impl RequestSeries {
    /// Where the series of these labels is.
    pub(in crate::metrics) fn hash(outcome: OutcomeLabels, tags: Option<&TagValues>) -> u64 {
        outcome.hash() ^ tags.map_or(0, TagValues::hash)
    }

    /// Whether it is that of these labels.
    pub(in crate::metrics) fn is(&self, outcome: OutcomeLabels, tags: Option<&TagValues>) -> bool {
        self.outcome == outcome && self.tags.as_deref() == tags
    }

    /// `chosen` are the buckets where they are not Envoy's.
    pub(super) fn new(
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
        chosen: Option<&Arc<Buckets>>,
    ) -> Self {
        Self {
            outcome,
            tags: tags.cloned().map(Arc::new),
            cells: match chosen {
                None => Cells::Usual(Striped::new()),
                Some(buckets) => Cells::Chosen(Striped::new(), Arc::clone(buckets)),
            },
            exemplars: Exemplars::default(),
        }
    }

    /// Adds a request, and keeps its span as an exemplar if it has one.
    pub(super) fn observe(&self, observed: Observed, span: Option<SpanIds>) {
        match &self.cells {
            Cells::Usual(cells) => {
                if let Some(cells) = cells.local() {
                    cells.observe(observed);
                }
            }
            Cells::Chosen(cells, buckets) => {
                if let Some(cells) = cells.local() {
                    cells.observe(observed, buckets);
                }
            }
        }
        if let Some(span) = span {
            let buckets = self.buckets().find(observed.values());
            self.exemplars.note(span, observed, buckets);
        }
    }

    /// Moves the counts of another series of the same table to this one.
    pub(super) fn take(&self, from: &Self) {
        match (&self.cells, &from.cells) {
            (Cells::Usual(to), Cells::Usual(from)) => {
                if let Some(to) = to.local() {
                    from.iter().for_each(|from| to.take(from));
                }
            }
            (Cells::Chosen(to, _), Cells::Chosen(from, _)) => {
                if let Some(to) = to.local() {
                    from.iter().for_each(|from| to.take(from));
                }
            }
            // INVARIANT: a table has one kind of buckets.
            (Cells::Usual(_), Cells::Chosen(..)) | (Cells::Chosen(..), Cells::Usual(_)) => {}
        }
    }

    /// Whether it has nothing to move.
    pub(super) fn is_empty(&self) -> bool {
        match &self.cells {
            Cells::Usual(cells) => cells.iter().all(RequestCells::is_empty),
            Cells::Chosen(cells, _) => cells.iter().all(ChosenCells::is_empty),
        }
    }

    pub(in crate::metrics) fn totals(&self) -> RequestTotals {
        let mut totals = RequestTotals::new(self.buckets());
        match &self.cells {
            Cells::Usual(cells) => cells.iter().for_each(|cells| cells.add_to(&mut totals)),
            Cells::Chosen(cells, _) => cells.iter().for_each(|cells| cells.add_to(&mut totals)),
        }
        totals
    }

    fn buckets(&self) -> &Buckets {
        match &self.cells {
            Cells::Usual(_) => Buckets::usual(),
            Cells::Chosen(_, buckets) => buckets,
        }
    }
}

impl ConnectionSeries {
    /// One counter's total over all stripes.
    pub(in crate::metrics) fn total(
        &self,
        counter: impl Fn(&ConnectionCells) -> &AtomicU64,
    ) -> u64 {
        self.cells
            .iter()
            .map(|cells| counter(cells).load(Ordering::Relaxed))
            .sum()
    }
}

/// The bound of OpenTelemetry's SDKs, per family.
pub(in crate::metrics) const MAX_SERIES: usize = 2000;
/// The series that values of expressions may make, so that there is always room for others. Past
/// it, such labels are `unknown`.
pub(in crate::metrics) const MAX_TAGGED: usize = MAX_SERIES / 2;
/// Series that only the overflow bases may take.
const KEPT_BACK: usize = 100;
pub(super) const MAX_BASES: usize = MAX_SERIES;
/// The outcomes that one base tells apart: all codes of HTTP, but not each with every gRPC status
/// and flag, so that one peer cannot use up all series.
const MAX_OUTCOMES: usize = 512;
/// The same for a base that metadata created; more outcomes are counted under the peer's name.
const MAX_OUTCOMES_DESCRIBED: usize = 32;
