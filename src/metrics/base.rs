use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::cell::{HistogramCells, HistogramTotals, Striped, take};
use super::grow::Grow;
use super::labels::Outcome;
use super::standing::Standing;
use crate::message::ResponseFlags;

/// The number of a [`Base`] in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BaseId(u32);

/// The series that share their base labels.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) labels: Box<str>,
    pub(super) security_policy: &'static str,
    /// Whether it takes what no longer fits elsewhere, and so may use what is kept back for that.
    pub(super) takes_overflow: bool,
    /// Where a peer's own words caused it: how they stand, and which base counts while they are not shown.
    pub(super) described: Option<(Standing, BaseId)>,
    pub(super) outcomes: AtomicUsize,
    pub(super) requests: Grow<RequestSeries, 8>,
    pub(super) messages: Striped<MessageCells>,
    pub(super) connections: Grow<ConnectionSeries, 2>,
}

/// The request families of one set of labels.
#[derive(Debug)]
pub(super) struct RequestSeries {
    pub(super) outcome: Outcome,
    pub(super) cells: Striped<RequestCells>,
}

#[derive(Debug, Default)]
pub(super) struct RequestCells {
    pub(super) duration: HistogramCells,
    pub(super) request_bytes: HistogramCells,
    pub(super) response_bytes: HistogramCells,
}

/// What the request families hold at one moment. `istio_requests_total` is the count of the durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestTotals {
    pub(super) duration: HistogramTotals,
    pub(super) request_bytes: HistogramTotals,
    pub(super) response_bytes: HistogramTotals,
}

/// What one request adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) milliseconds: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

/// The gRPC message families, which have the base labels only.
#[derive(Debug, Default)]
pub(super) struct MessageCells {
    pub(super) request: AtomicU64,
    pub(super) response: AtomicU64,
}

/// gRPC messages of the request and of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) request: u64,
    pub(super) response: u64,
}

/// The connection families of one set of labels.
#[derive(Debug)]
pub(super) struct ConnectionSeries {
    pub(super) flags: ResponseFlags,
    pub(super) cells: Striped<ConnectionCells>,
}

#[derive(Debug, Default)]
pub(super) struct ConnectionCells {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl BaseId {
    /// Numbers have so many bits.
    pub(super) const BITS: u32 = MAX_BASES.ilog2() + 1;

    pub(super) const fn number(self) -> u32 {
        self.0
    }

    /// The base of this number, whether there is one or not.
    pub(super) const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// The base of last resort, which every table has: all its labels say `unknown`.
    pub(super) const LAST_RESORT: Self = Self(0);
}

impl Base {
    pub(super) fn requests(&self) -> impl Iterator<Item = &RequestSeries> {
        self.requests.iter()
    }

    /// The gRPC messages; `None` when no gRPC call had these labels.
    pub(super) fn messages(&self) -> Option<Messages> {
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

    pub(super) fn connections(&self) -> impl Iterator<Item = &ConnectionSeries> {
        self.connections.iter()
    }

    /// How many ways to end it may tell apart; the one that says `unknown` always fits.
    pub(super) fn most_outcomes(&self, outcome: Outcome) -> usize {
        match &self.described {
            _ if outcome == Outcome::UNKNOWN => usize::MAX,
            Some(_) => MAX_OUTCOMES_DESCRIBED,
            None => MAX_OUTCOMES,
        }
    }

    pub(super) const fn room(&self, is_last: bool) -> usize {
        if is_last {
            MAX_SERIES
        } else if self.takes_overflow {
            MAX_SERIES - 1
        } else {
            MAX_SERIES - KEPT_BACK
        }
    }
}

impl RequestCells {
    /// Takes over what the other has counted.
    pub(super) fn take(&self, from: &Self) {
        self.duration.take(&from.duration);
        self.request_bytes.take(&from.request_bytes);
        self.response_bytes.take(&from.response_bytes);
    }
}

impl MessageCells {
    pub(super) fn take(&self, from: &Self) {
        take(&self.request, &from.request);
        take(&self.response, &from.response);
    }
}

impl RequestSeries {
    pub(super) fn totals(&self) -> RequestTotals {
        let mut totals = RequestTotals::default();
        for cells in self.cells.iter() {
            totals.duration.add(&cells.duration);
            totals.request_bytes.add(&cells.request_bytes);
            totals.response_bytes.add(&cells.response_bytes);
        }
        totals
    }
}

impl ConnectionSeries {
    /// One counter's total over all stripes.
    pub(super) fn total(&self, counter: impl Fn(&ConnectionCells) -> &AtomicU64) -> u64 {
        self.cells
            .iter()
            .map(|cells| counter(cells).load(Ordering::Relaxed))
            .sum()
    }
}

/// The bound of OpenTelemetry's SDKs, per family.
pub(super) const MAX_SERIES: usize = 2000;
/// Series that only the overflow bases may take.
const KEPT_BACK: usize = 100;
pub(super) const MAX_BASES: usize = MAX_SERIES;
/// Ways to end that one base tells apart: all codes of HTTP, but not with every gRPC status and flag, lest one peer use up all series.
const MAX_OUTCOMES: usize = 512;
/// The same for what a peer says of itself; more of them are counted under its name.
const MAX_OUTCOMES_DESCRIBED: usize = 32;
