use http::StatusCode;

use super::*;
use crate::message::ResponseFlags;
use crate::metrics::store::histogram::Observed;
use crate::metrics::store::labels::{OutcomeLabels, Protocol};
use crate::metrics::store::series::{MAX_SERIES, Messages};

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
    let snapshot = table.snapshot(Instant::now());
    let bases = snapshot.shown().map(|(_, base)| base);
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
    let snapshot = table.snapshot(Instant::now());
    assert_eq!(snapshot.shown().count(), MAX_BASES);
    let (_, last) = snapshot.shown().next().unwrap();
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
    assert_eq!(
        table.snapshot(Instant::now()).shown().count(),
        MAX_DESCRIBED + 2
    );
    assert!(of("other name", OnMissing::Add).is_new);
    let full = of("other words", OnMissing::Describe(name));
    assert_eq!((full.base, full.is_new), (name, false));
}
