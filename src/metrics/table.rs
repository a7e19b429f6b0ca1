#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken the first time that a set of base labels is seen, never again for it"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::cell::{HistogramCells, HistogramTotals, Striped};
use super::grow::Grow;
use super::labels::{BaseLabels, Outcome};
use crate::message::ResponseFlags;

/// Every series of the request and connection families.
///
/// Base labels are interned into numbered [`Base`]s, so that a record in flight holds a number and no reference count; each base holds its
/// series. Both are bounded: past the bound, what would be new is counted under labels that say `unknown`.
#[derive(Debug)]
pub(super) struct Table {
    bases: Box<[OnceLock<Box<Base>>]>,
    interned: Mutex<HashMap<String, BaseId>>,
    series: AtomicUsize,
    tcp_series: AtomicUsize,
}

/// The number of a [`Base`] in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BaseId(u32);

/// Whether a base may be added, or else which one stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    Add,
    FindElse(BaseId),
}

/// A base, and whether it was added just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interned {
    pub(super) base: BaseId,
    pub(super) is_new: bool,
}

/// The series that share their base labels.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) labels: Box<str>,
    pub(super) security_policy: &'static str,
    /// Whether it takes what no longer fits elsewhere, and so may use what is kept back for that.
    takes_overflow: bool,
    requests: Grow<RequestSeries, 8>,
    messages: Striped<MessageCells>,
    connections: Grow<ConnectionSeries, 2>,
}

/// The request families of one set of labels.
#[derive(Debug)]
pub(super) struct RequestSeries {
    pub(super) outcome: Outcome,
    cells: Striped<RequestCells>,
}

#[derive(Debug, Default)]
struct RequestCells {
    duration: HistogramCells,
    request_bytes: HistogramCells,
    response_bytes: HistogramCells,
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
struct MessageCells {
    request: AtomicU64,
    response: AtomicU64,
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
    cells: Striped<ConnectionCells>,
}

#[derive(Debug, Default)]
pub(super) struct ConnectionCells {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Table {
    pub(super) fn new() -> Self {
        let table = Self {
            bases: (0..MAX_BASES).map(|_| OnceLock::new()).collect(),
            interned: Mutex::default(),
            series: AtomicUsize::new(0),
            tcp_series: AtomicUsize::new(0),
        };
        table.overflow_base(&BaseLabels::unknown("unknown", "unknown"));
        table
    }

    /// The base with these labels; `overflow` when there is no room for a new one.
    pub(super) fn base(&self, labels: &BaseLabels<'_>, overflow: BaseId, may: May) -> Interned {
        self.intern(labels, overflow, may, false)
    }

    /// A base for what no longer fits under its own labels.
    pub(super) fn overflow_base(&self, labels: &BaseLabels<'_>) -> BaseId {
        self.intern(labels, BaseId::LAST_RESORT, May::Add, true)
            .base
    }

    fn intern(
        &self,
        labels: &BaseLabels<'_>,
        overflow: BaseId,
        may: May,
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
        if let May::FindElse(base) = may {
            return known(base);
        }
        let used = interned.len();
        let (Some(slot), Ok(number)) = (self.bases.get(used), u32::try_from(used)) else {
            return known(overflow);
        };
        let base = Box::new(Base {
            labels: text.into(),
            security_policy: labels.security_policy,
            takes_overflow,
            requests: Grow::new(),
            messages: Striped::new(),
            connections: Grow::new(),
        });
        if slot.set(base).is_err() {
            return known(overflow);
        }
        let base = BaseId(number);
        interned.insert(key, base);
        Interned { base, is_new: true }
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = &Base> {
        self.bases.iter().map_while(|slot| Some(&**slot.get()?))
    }

    /// Adds one request to all request families. Once the series exists: wait-free, no allocation but a stripe's first.
    pub(super) fn add_request(
        &self,
        base: BaseId,
        overflow: BaseId,
        outcome: Outcome,
        observed: Observed,
    ) {
        let series = self
            .request_series(base, outcome)
            .or_else(|| self.request_series(overflow, outcome))
            .or_else(|| self.request_series(BaseId::LAST_RESORT, Outcome::UNKNOWN));
        if let Some(cells) = series.and_then(|series| series.cells.local()) {
            cells.duration.observe(observed.milliseconds);
            cells.request_bytes.observe(observed.request_bytes);
            cells.response_bytes.observe(observed.response_bytes);
        }
    }

    fn request_series(&self, base: BaseId, outcome: Outcome) -> Option<&RequestSeries> {
        let is_last = base == BaseId::LAST_RESORT;
        let base = self.get(base)?;
        let is = |series: &RequestSeries| series.outcome == outcome;
        if let Some(series) = base.requests.get(outcome.hash(), is) {
            return Some(series);
        }
        let room = base.room(is_last);
        let reserved = reserve(&self.series, room)?;
        let series = RequestSeries {
            outcome,
            cells: Striped::new(),
        };
        let (series, is_new) = base.requests.get_or_add(outcome.hash(), is, series)?;
        reserved.keep_if(is_new);
        Some(series)
    }

    /// Adds gRPC messages.
    pub(super) fn add_messages(&self, base: BaseId, messages: Messages) {
        if let Some(cells) = self.get(base).and_then(|base| base.messages.local()) {
            cells.request.fetch_add(messages.request, Ordering::Relaxed);
            cells
                .response
                .fetch_add(messages.response, Ordering::Relaxed);
        }
    }

    /// The connection families' cells of this thread.
    pub(super) fn connection(
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

    fn get(&self, base: BaseId) -> Option<&Base> {
        Some(self.bases.get(base.0 as usize)?.get()?)
    }
}

impl BaseId {
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

    const fn room(&self, is_last: bool) -> usize {
        if is_last {
            MAX_SERIES
        } else if self.takes_overflow {
            MAX_SERIES - 1
        } else {
            MAX_SERIES - KEPT_BACK
        }
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

/// A place in a bounded number of series; given back when it is dropped.
struct Reserved<'a>(&'a AtomicUsize);

fn reserve(used: &AtomicUsize, room: usize) -> Option<Reserved<'_>> {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        (used < room).then_some(used + 1)
    })
    .ok()?;
    Some(Reserved(used))
}

impl Reserved<'_> {
    fn keep_if(self, is_used: bool) {
        if is_used {
            std::mem::forget(self);
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bound of OpenTelemetry's SDKs, per family.
pub(super) const MAX_SERIES: usize = 2000;
/// Series that only the overflow bases may take.
const KEPT_BACK: usize = 100;
const MAX_BASES: usize = MAX_SERIES;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::metrics::labels::Protocol;

    const ONE: Observed = Observed {
        milliseconds: 1,
        request_bytes: 2,
        response_bytes: 3,
    };

    fn outcome(code: u16) -> Outcome {
        let status = StatusCode::from_u16(code).unwrap();
        Outcome::new(Protocol::Http, Some(status), None, ResponseFlags::none())
    }

    fn count(table: &Table) -> (usize, u64) {
        let series: Vec<_> = table.bases().flat_map(Base::requests).collect();
        let requests = series.iter().map(|s| s.totals().duration.count()).sum();
        (series.len(), requests)
    }

    #[test]
    fn equal_labels_are_one_base() {
        let table = Table::new();
        let labels = BaseLabels::unknown("source", "none");
        let first = table.base(&labels, BaseId::LAST_RESORT, May::Add);
        let again = table.base(&labels, BaseId::LAST_RESORT, May::Add);
        assert!(first.is_new && !again.is_new);
        assert_eq!(first.base, again.base);
        let other = BaseLabels::unknown("source", "mutual_tls");
        let other = table.base(&other, BaseId::LAST_RESORT, May::FindElse(first.base));
        assert_eq!(other, again);
    }

    ///
    #[test]
    fn series_are_bounded_and_nothing_is_lost() {
        let table = Table::new();
        let overflow = table.overflow_base(&BaseLabels::unknown("source", "overflow"));
        for host in 0..3000 {
            let host = format!("host-{host}");
            let mut labels = BaseLabels::unknown("source", "none");
            labels.service.host = Some(&host);
            let base = table.base(&labels, overflow, May::Add).base;
            for code in [200, 503] {
                table.add_request(base, overflow, outcome(code), ONE);
            }
        }
        for code in 100..=999 {
            table.add_request(overflow, overflow, outcome(code), ONE);
        }
        let (series, requests) = count(&table);
        assert_eq!(series, MAX_SERIES);
        assert_eq!(requests, 3000 * 2 + 900);
        assert_eq!(table.bases().count(), MAX_BASES);
        let last = table.bases().next().unwrap();
        assert_eq!(last.requests().count(), 1);
    }

    #[test]
    fn racing_threads_make_one_series_and_count_it_once() {
        let table = Table::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for code in 200..300 {
                        let last = BaseId::LAST_RESORT;
                        table.add_request(last, last, outcome(code), ONE);
                    }
                });
            }
        });
        assert_eq!(count(&table), (100, 800));
        assert_eq!(table.series.load(Ordering::Relaxed), 100);
    }
}
