use std::sync::Barrier;
use std::time::Instant;

use http::StatusCode;

use super::*;
use crate::message::ResponseFlags;
use crate::metrics::store::histogram::Observed;
use crate::metrics::store::labels::{BaseLabels, Protocol};
use crate::metrics::store::table::OnMissing;

const LAST: BaseId = BaseId::LAST_RESORT;
const ONE: Observed = Observed {
    milliseconds: 1,
    request_bytes: 2,
    response_bytes: 3,
};

fn ok() -> OutcomeLabels {
    let status = Some(StatusCode::OK);
    OutcomeLabels::new(Protocol::Http, status, None, ResponseFlags::none())
}

fn base(table: &SeriesTable, app: &str) -> BaseId {
    let mut labels = BaseLabels::unknown("destination", "none");
    labels.source.app = Some(app);
    table.base(&labels, LAST, OnMissing::Add).base
}

fn change(table: &SeriesTable, expressions: &[&str]) {
    let expressions = expressions.iter().map(|text| (*text).into());
    table.evaluate(expressions.collect(), || {});
}

fn values(of: &[(&str, &str)]) -> TagValues {
    TagValues::new(
        of.iter()
            .map(|(text, value)| ((*text).into(), Some((*value).to_owned()))),
    )
}

fn add(table: &SeriesTable, base: BaseId, tags: &TagValues) {
    table.add_request(base, LAST, ok(), Some(tags), ONE, None);
}

/// All requests, and those of each series that has values.
fn counts(table: &SeriesTable) -> (u64, Vec<u64>) {
    let snapshot = table.snapshot(Instant::now());
    let tagged = snapshot.shown_tagged().map(|tagged| &tagged.series);
    let tagged: Vec<_> = tagged.map(|series| series.totals().count()).collect();
    let bases = snapshot.shown();
    let untagged = bases.flat_map(|(_, base)| base.requests().map(|s| s.totals().count()));
    (untagged.sum::<u64>() + tagged.iter().sum::<u64>(), tagged)
}

/// The places that are taken: of all series, of those with values, and of those of a base.
fn places(table: &SeriesTable, base: BaseId) -> [usize; 3] {
    let of_base = &table.get(base).unwrap().tagged;
    [&table.series, &table.tagged, of_base].map(|places| places.load(Ordering::Relaxed))
}

///
#[test]
fn every_new_expression_finds_room() {
    let table = SeriesTable::new(None);
    let bases = ["one", "two"].map(|app| base(&table, app));
    for round in 0..12 {
        let expression = round.to_string();
        change(&table, &[&expression]);
        for value in 0..900_u64 {
            let base = bases[usize::from(value % 2 == 0)];
            add(&table, base, &values(&[(&expression, &value.to_string())]));
        }
        let (all, tagged) = counts(&table);
        assert_eq!(all, 900 * (round + 1));
        assert_eq!(tagged, [1; 900]);
        let before = if round == 0 { 0 } else { 2 };
        assert_eq!(places(&table, bases[0]), [900 + before, 900, 450]);
    }
    change(&table, &[]);
    assert_eq!(counts(&table), (900 * 12, vec![]));
    assert_eq!(places(&table, bases[0]), [2, 0, 0]);
    assert!(table.evaluated.load().is_none());
}

#[test]
fn series_of_expressions_that_stay_keep_their_values() {
    let table = SeriesTable::new(None);
    let app = base(&table, "app");
    change(&table, &["a", "b"]);
    for b in ["1", "2", "3"] {
        add(&table, app, &values(&[("a", "x"), ("b", b)]));
    }
    change(&table, &["a", "c"]);
    assert_eq!(counts(&table), (3, vec![3]));
    assert_eq!(places(&table, app), [1, 1, 1]);
    let found = table.evaluated.load_full().unwrap();
    assert!(found.get(app, ok(), &values(&[("a", "x")])).is_some());
    drop(found);
    // Of a request that began under the expressions before, the value that is known counts.
    add(&table, app, &values(&[("a", "x"), ("b", "4")]));
    assert_eq!(counts(&table), (4, vec![4]));
    // The same expressions change nothing, and neither do more.
    change(&table, &["c", "a"]);
    change(&table, &["a", "b", "c"]);
    assert_eq!(counts(&table), (4, vec![4]));
    // None is known.
    add(&table, app, &values(&[("d", "x")]));
    assert_eq!(counts(&table), (5, vec![4]));
    assert_eq!(places(&table, app), [2, 1, 1]);
}

/// A request may be between finding its series and adding to it.
#[test]
fn what_a_request_still_adds_is_counted_before_the_place_is_free() {
    let table = SeriesTable::new(None);
    let app = base(&table, "app");
    change(&table, &["a"]);
    let tags = values(&[("a", "x")]);
    add(&table, app, &tags);
    table.with_series(app, LAST, ok(), Some(&tags), |series| {
        change(&table, &["b"]);
        assert_eq!(counts(&table), (1, vec![1]));
        assert_eq!(places(&table, app), [1, 1, 1]);
        series.observe(ONE, None);
        assert_eq!(counts(&table), (2, vec![2]));
    });
    assert_eq!(counts(&table), (2, vec![]));
    assert_eq!(places(&table, app), [1, 0, 0]);
    assert_eq!(table.replaced.lock().unwrap().len(), 0);
    // It moves with the next change, too, if nobody scrapes.
    change(&table, &["a"]);
    table.with_series(app, LAST, ok(), Some(&tags), |_| change(&table, &["b"]));
    assert_eq!(table.replaced.lock().unwrap().len(), 1);
    change(&table, &[]);
    assert_eq!(table.replaced.lock().unwrap().len(), 0);
    assert_eq!(places(&table, app), [1, 0, 0]);
}

/// What a peer's description has counted goes to its name, with its values.
#[test]
fn values_of_a_folded_description_go_to_the_name() {
    let table = SeriesTable::new(None);
    let name = base(&table, "name");
    let mut labels = BaseLabels::unknown("destination", "none");
    labels.source.version = Some("v1");
    let described = table.base(&labels, LAST, OnMissing::Describe(name)).base;
    change(&table, &["a"]);
    let tags = values(&[("a", "x")]);
    add(&table, described, &tags);
    table.fold(described);
    add(&table, described, &tags);
    assert_eq!(counts(&table), (2, vec![2]));
    change(&table, &[]);
    assert_eq!(counts(&table), (2, vec![]));
    assert_eq!(places(&table, described), [1, 0, 0]);
}

#[test]
fn nothing_is_lost_while_expressions_change_and_scrapes_run() {
    const THREADS: usize = 4;
    const EACH: u64 = 4_000;
    const ALL: u64 = EACH * THREADS as u64;
    let table = SeriesTable::new(None);
    let bases = ["one", "two"].map(|app| base(&table, app));
    let begin = Barrier::new(THREADS + 2);
    std::thread::scope(|scope| {
        for thread in (0..).take(THREADS) {
            let (table, begin) = (&table, &begin);
            scope.spawn(move || {
                begin.wait();
                for number in 0..EACH {
                    let value = (number % 50).to_string();
                    let other = (number % 3).to_string();
                    let tags = match (number + thread) % 3 {
                        0 => values(&[("a", &value)]),
                        1 => values(&[("a", &value), ("b", &other)]),
                        _ => values(&[("b", &value), ("c", &other)]),
                    };
                    add(table, bases[usize::from(number % 2 == 0)], &tags);
                }
            });
        }
        scope.spawn(|| {
            begin.wait();
            let sets: [&[&str]; 5] = [&["a"], &["a", "b"], &["b", "c"], &[], &["a", "c"]];
            for round in 0..300 {
                change(&table, sets[round % sets.len()]);
            }
        });
        scope.spawn(|| {
            begin.wait();
            let mut before = 0;
            for _ in 0..100 {
                let (all, tagged) = counts(&table);
                assert!(all >= before, "{all} after {before}");
                assert!(tagged.len() <= MAX_TAGGED, "{}", tagged.len());
                before = all;
            }
        });
    });
    assert_eq!(counts(&table).0, ALL);
    change(&table, &[]);
    assert_eq!(counts(&table), (ALL, vec![]));
    assert_eq!(table.replaced.lock().unwrap().len(), 0);
    assert_eq!(places(&table, bases[0]), [2, 0, 0]);
    assert_eq!(places(&table, bases[1]), [2, 0, 0]);
}
