#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken once for each set of base labels"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::append_only_map::AppendOnlyMap;
use super::buckets::Buckets;
use super::exemplars::SpanIds;
use super::histogram::Observed;
use super::labels::{BaseLabels, OutcomeLabels};
use super::reserved::reserve;
use super::series::{
    Base, BaseId, ConnectionCells, ConnectionSeries, MAX_BASES, MAX_TAGGED, Messages, RequestSeries,
};
use super::tags::TagValues;
use super::visibility::Visibility;
use crate::message::ResponseFlags;
use crate::striped::Striped;

/// Every series of the request and connection families.
///
/// Base labels are interned into numbered [`Base`]s, so that a record holds a number and no
/// reference count; each base holds its series. Both are bounded: past the bound, calls are
/// counted under labels that say `unknown`.
#[derive(Debug)]
pub(in crate::metrics) struct SeriesTable {
    bases: Box<[OnceLock<Box<Base>>]>,
    interned: Mutex<HashMap<String, BaseId>>,
    described: AtomicUsize,
    series: AtomicUsize,
    /// Those of them that values of expressions made.
    tagged: AtomicUsize,
    tcp_series: AtomicUsize,
    /// The names of peers that all places remember.
    pub(in crate::metrics) names: AtomicUsize,
    began: Instant,
    /// The latest second that a request or a scrape has noted.
    latest: AtomicU64,
    /// The buckets, where they are not Envoy's.
    chosen: Option<Arc<Buckets>>,
}

/// What to do if a base does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum OnMissing {
    Add,
    /// Add a base for a peer's metadata; the base is that of the peer's name.
    Describe(BaseId),
    Use(BaseId),
}

/// A base, and whether it was added by this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct Interned {
    pub(in crate::metrics) base: BaseId,
    pub(in crate::metrics) is_new: bool,
}

impl SeriesTable {
    /// `chosen` are the buckets where they are not Envoy's.
    pub(in crate::metrics) fn new(chosen: Option<Buckets>) -> Self {
        let table = Self {
            bases: (0..MAX_BASES).map(|_| OnceLock::new()).collect(),
            interned: Mutex::default(),
            described: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            tagged: AtomicUsize::new(0),
            tcp_series: AtomicUsize::new(0),
            names: AtomicUsize::new(0),
            began: Instant::now(),
            latest: AtomicU64::new(0),
            chosen: chosen.map(Arc::new),
        };
        table.overflow_base(&BaseLabels::unknown("unknown", "unknown"));
        table
    }

    pub(in crate::metrics) fn buckets(&self) -> &Buckets {
        self.chosen.as_deref().unwrap_or_else(|| Buckets::usual())
    }

    /// The base with these labels; `overflow` if there is no room for a new one.
    pub(in crate::metrics) fn base(
        &self,
        labels: &BaseLabels<'_>,
        overflow: BaseId,
        on_missing: OnMissing,
    ) -> Interned {
        self.intern(labels, overflow, on_missing, false)
    }

    /// A base that counts what has no room under its own labels.
    pub(in crate::metrics) fn overflow_base(&self, labels: &BaseLabels<'_>) -> BaseId {
        self.intern(labels, BaseId::LAST_RESORT, OnMissing::Add, true)
            .base
    }

    fn intern(
        &self,
        labels: &BaseLabels<'_>,
        overflow: BaseId,
        on_missing: OnMissing,
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
        let (described, overflow) = match on_missing {
            OnMissing::Add => (None, overflow),
            OnMissing::Describe(name) => {
                let Some(reserved) = reserve(&self.described, MAX_DESCRIBED) else {
                    return known(name);
                };
                let visibility = Visibility::new(self.latest.load(Ordering::Relaxed));
                (Some((reserved, visibility, name)), name)
            }
            OnMissing::Use(base) => return known(base),
        };
        let used = interned.len();
        let (Some(slot), Ok(number)) = (self.bases.get(used), u32::try_from(used)) else {
            return known(overflow);
        };
        let described = described.map(|(reserved, visibility, name)| {
            reserved.keep_if(true);
            (visibility, name)
        });
        let base = Box::new(Base {
            labels: text.into(),
            security_policy: labels.security_policy,
            takes_overflow,
            described,
            outcomes: AtomicUsize::new(0),
            tagged: AtomicUsize::new(0),
            requests: AppendOnlyMap::new(),
            messages: Striped::new(),
            connections: AppendOnlyMap::new(),
        });
        if slot.set(base).is_err() {
            return known(overflow);
        }
        let base = BaseId::new(number);
        interned.insert(key, base);
        Interned { base, is_new: true }
    }

    /// Seconds since the table was made, and at least as many as a request or a scrape has noted.
    pub(in crate::metrics) fn second(&self, now: Instant) -> u64 {
        let second = now.saturating_duration_since(self.began).as_secs();
        let latest = self.latest.load(Ordering::Relaxed);
        if second > latest {
            self.latest.fetch_max(second, Ordering::Relaxed);
        }
        second.max(latest)
    }

    /// Every base that is shown.
    pub(in crate::metrics) fn bases(&self) -> impl Iterator<Item = (BaseId, &Base)> {
        let shown = |base: &Base| {
            let described = base.described.as_ref();
            described.is_none_or(|(visibility, _)| visibility.is_shown())
        };
        self.every_base().filter(move |(_, base)| shown(base))
    }

    fn every_base(&self) -> impl Iterator<Item = (BaseId, &Base)> {
        let made = self.bases.iter().map_while(|slot| slot.get());
        (0..)
            .map(BaseId::new)
            .zip(made)
            .map(|(id, base)| (id, &**base))
    }

    /// Whether a base that metadata created is shown; `None` for another base.
    pub(in crate::metrics) fn visibility(&self, base: BaseId) -> Option<&Visibility> {
        Some(&self.get(base)?.described.as_ref()?.0)
    }

    /// Before a scrape: moves what was counted under folded descriptions, and retires old
    /// descriptions that came only with refused requests.
    pub(in crate::metrics) fn settle(&self, now: Instant) {
        let now = self.second(now);
        for (id, base) in self.every_base() {
            let Some((visibility, _)) = &base.described else {
                continue;
            };
            if visibility.is_folded() {
                self.move_to_name(id);
            } else if visibility.is_idle(now) && !visibility.is_accepted() {
                visibility.retire();
            }
        }
    }

    /// Hides a peer's description, and moves its counts to the peer's name.
    pub(in crate::metrics) fn fold(&self, base: BaseId) {
        if let Some(visibility) = self.visibility(base) {
            visibility.fold();
            self.move_to_name(base);
        }
    }

    /// What a thread still adds to the old base is moved before the next scrape.
    fn move_to_name(&self, base: BaseId) {
        let Some(base) = self.get(base) else {
            return;
        };
        let Some((_, name)) = &base.described else {
            return;
        };
        for series in base.requests() {
            let tags = series.tags.as_deref();
            let to = self.series_for(*name, BaseId::LAST_RESORT, series.outcome, tags);
            if let Some(to) = to {
                to.take(series);
            }
        }
        let to = self.get(*name).filter(|_| base.messages().is_some());
        if let Some(to) = to.and_then(|name| name.messages.local()) {
            base.messages.iter().for_each(|from| to.take(from));
        }
    }

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
        if let Some(series) = self.series_for(at, overflow, outcome, tags) {
            series.observe(observed, span);
        }
    }

    /// The series of these labels, else the one that keeps most of them and has room.
    fn series_for(
        &self,
        base: BaseId,
        overflow: BaseId,
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
    ) -> Option<&RequestSeries> {
        let tagged = tags.and_then(|tags| self.request_series(base, outcome, Some(tags)));
        tagged
            .or_else(|| self.request_series(base, outcome, None))
            .or_else(|| {
                let (_, name) = self.get(base)?.described.as_ref()?;
                self.request_series(*name, outcome, None)
            })
            .or_else(|| self.request_series(base, OutcomeLabels::UNKNOWN, None))
            .or_else(|| self.request_series(overflow, outcome, None))
            .or_else(|| self.request_series(BaseId::LAST_RESORT, OutcomeLabels::UNKNOWN, None))
    }

    fn request_series(
        &self,
        base: BaseId,
        outcome: OutcomeLabels,
        tags: Option<&TagValues>,
    ) -> Option<&RequestSeries> {
        let is_last = base == BaseId::LAST_RESORT;
        let base = self.get(base)?;
        let is = |series: &RequestSeries| series.is(outcome, tags);
        let hash = RequestSeries::hash(outcome, tags);
        if let Some(series) = base.requests.get(hash, is) {
            return Some(series);
        }
        let tagged = match tags {
            Some(_) => Some(reserve(&self.tagged, MAX_TAGGED)?),
            None => None,
        };
        let room = base.room(is_last);
        let most = base.most_outcomes(outcome);
        let outcomes = match tags {
            Some(_) => reserve(&base.tagged, most)?,
            None => reserve(&base.outcomes, most)?,
        };
        let reserved = reserve(&self.series, room)?;
        let series = RequestSeries::new(outcome, tags, self.chosen.as_ref());
        let (series, is_new) = base.requests.get_or_add(hash, is, series)?;
        if let Some(tagged) = tagged {
            tagged.keep_if(is_new);
        }
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

    pub(in crate::metrics) fn get(&self, base: BaseId) -> Option<&Base> {
        Some(self.bases.get(base.number() as usize)?.get()?)
    }
}

/// Bases that metadata may create in all, so that there is always room for the names that peers
/// prove.
const MAX_DESCRIBED: usize = MAX_BASES / 2;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::metrics::store::labels::Protocol;
    use crate::metrics::store::series::MAX_SERIES;

    const ONE: Observed = Observed {
        milliseconds: 1,
        request_bytes: 2,
        response_bytes: 3,
    };

    fn outcome(code: u16) -> OutcomeLabels {
        let status = StatusCode::from_u16(code).unwrap();
        OutcomeLabels::new(Protocol::Http, Some(status), None, ResponseFlags::none())
    }

    fn count(table: &SeriesTable) -> (usize, u64) {
        let bases = table.bases().map(|(_, base)| base);
        let series: Vec<_> = bases.flat_map(Base::requests).collect();
        let requests = series.iter().map(|s| s.totals().count()).sum();
        (series.len(), requests)
    }

    #[test]
    fn equal_labels_are_one_base() {
        let table = SeriesTable::new(None);
        let labels = BaseLabels::unknown("source", "none");
        let first = table.base(&labels, BaseId::LAST_RESORT, OnMissing::Add);
        let again = table.base(&labels, BaseId::LAST_RESORT, OnMissing::Add);
        assert!(first.is_new && !again.is_new);
        assert_eq!(first.base, again.base);
        let other = BaseLabels::unknown("source", "mutual_tls");
        let other = table.base(&other, BaseId::LAST_RESORT, OnMissing::Use(first.base));
        assert_eq!(other, again);
    }

    ///
    #[test]
    fn series_are_bounded_and_nothing_is_lost() {
        let table = SeriesTable::new(None);
        let overflow = table.overflow_base(&BaseLabels::unknown("source", "overflow"));
        for host in 0..3000 {
            let host = format!("host-{host}");
            let mut labels = BaseLabels::unknown("source", "none");
            labels.service.host = Some(&host);
            let base = table.base(&labels, overflow, OnMissing::Add).base;
            for code in [200, 503] {
                table.add_request(base, overflow, outcome(code), None, ONE, None);
            }
        }
        for code in 100..=999 {
            table.add_request(overflow, overflow, outcome(code), None, ONE, None);
        }
        let (series, requests) = count(&table);
        assert_eq!(series, MAX_SERIES);
        assert_eq!(requests, 3000 * 2 + 900);
        assert_eq!(table.bases().count(), MAX_BASES);
        let (_, last) = table.bases().next().unwrap();
        assert_eq!(last.requests().count(), 1);
    }

    #[test]
    fn racing_threads_make_one_series_and_count_it_once() {
        let table = SeriesTable::new(None);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for code in 200..300 {
                        let last = BaseId::LAST_RESORT;
                        table.add_request(last, last, outcome(code), None, ONE, None);
                    }
                });
            }
        });
        assert_eq!(count(&table), (100, 800));
        assert_eq!(table.series.load(Ordering::Relaxed), 100);
    }

    /// What a running request adds after its labels were hidden is counted under the name, too.
    #[test]
    fn what_is_folded_is_counted_under_the_name() {
        let table = SeriesTable::new(None);
        let last = BaseId::LAST_RESORT;
        let labels = |app| {
            let mut labels = BaseLabels::unknown("destination", "none");
            labels.source.app = app;
            labels
        };
        let name = table.base(&labels(None), last, OnMissing::Add).base;
        let said = table.base(&labels(Some("web")), last, OnMissing::Describe(name));
        assert!(said.is_new);
        let messages = Messages {
            request: 2,
            response: 3,
        };
        let add = |code| {
            table.add_request(said.base, last, outcome(code), None, ONE, None);
            table.add_messages(said.base, messages);
        };
        add(200);
        table.fold(said.base);
        add(200);
        add(404);
        let late = table.get(said.base).unwrap();
        let late = late.requests().next().unwrap();
        late.observe(ONE, None);
        table.settle(Instant::now());
        assert_eq!(count(&table), (2, 4));
        let name = table.get(name).unwrap();
        assert_eq!(name.messages().unwrap().request, 6);
        assert_eq!(table.get(said.base).unwrap().messages().unwrap().request, 0);
    }

    ///
    #[test]
    fn words_leave_room_for_names() {
        let table = SeriesTable::new(None);
        let last = BaseId::LAST_RESORT;
        let of = |app: &str, on_missing| {
            let mut labels = BaseLabels::unknown("destination", "none");
            labels.source.app = Some(app);
            table.base(&labels, last, on_missing)
        };
        let name = of("name", OnMissing::Add).base;
        for app in 0..MAX_BASES {
            of(&app.to_string(), OnMissing::Describe(name));
        }
        assert_eq!(table.bases().count(), MAX_DESCRIBED + 2);
        assert!(of("other name", OnMissing::Add).is_new);
        let full = of("other words", OnMissing::Describe(name));
        assert_eq!((full.base, full.is_new), (name, false));
    }
}
