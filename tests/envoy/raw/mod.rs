//! Raw requests to the sidecar example and to an Envoy with the listener that Istio gives it.
//!
//! Each request goes to both, byte for byte the same. They must answer alike, and the application
//! behind them must see the same, except for the differences of [`listed`].

mod application;
mod exchange;
mod frames;
mod listed;
mod message;
mod mutations;
mod parties;
mod table;
mod table_http2;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use self::exchange::{Outcome, send};
use self::listed::{AT_TIMES, LISTED, Listed};
use self::message::Case;
use self::parties::Side;
use crate::random::Random;

/// What became of all requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    /// How many requests each listed difference explains, in the order of the list.
    pub(crate) listed: BTreeMap<usize, usize>,
    pub(crate) unlisted: Vec<String>,
    /// Refusals of both with different statuses, ours first; 0 is an end without an answer.
    statuses: BTreeMap<(u16, u16), usize>,
}

/// Compares the table, and so many random requests.
pub(crate) fn compare(envoy: &Path, random: &mut Random, count: usize) -> Tally {
    let directory = tempfile::tempdir().unwrap();
    let world = parties::policies();
    let below = |name: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let ours = parties::sidecar(&below("sidecar"), &world);
    let theirs = parties::envoy(envoy, &below("envoy"), &world);
    let mut cases = table::cases();
    cases.extend(table_http2::cases());
    cases.extend(mutations::cases(random, &cases, count));
    let mut tally = Tally::default();
    for case in &cases {
        tally.ask(case, &ours, &theirs);
    }
    tally
}

impl Tally {
    fn ask(&mut self, case: &Case, ours: &Side, theirs: &Side) {
        self.requests += 1;
        let mut difference = None;
        // A machine under load may be slow to answer: silence counts only when it lasts.
        for patience in PATIENCE {
            let outcome = |side| send(side, &case.message, patience);
            let (ours, theirs) = (outcome(ours), outcome(theirs));
            if ours.is_like(&theirs) {
                let first = |outcome: &Outcome| outcome.statuses.first().copied();
                let statuses = [&ours, &theirs].map(|outcome| first(outcome).unwrap_or_default());
                if statuses[0] != statuses[1] {
                    *self.statuses.entry(statuses.into()).or_default() += 1;
                }
                return;
            }
            let explains = |(_, listed): &(usize, &Listed)| {
                listed.explains(&case.message, ours.fate(), theirs.fate())
            };
            if let Some((index, _)) = listed().enumerate().find(explains) {
                *self.listed.entry(index).or_default() += 1;
                return;
            }
            let is_slow = ours.is_silent || theirs.is_silent;
            difference = Some(show(case, &ours, &theirs));
            if !is_slow {
                break;
            }
        }
        self.unlisted.extend(difference);
    }

    /// Prints what was found, and fails on anything that the list does not say.
    pub(crate) fn report(&self, name: &str) {
        for difference in &self.unlisted {
            eprintln!("{difference}\n");
        }
        let count = |index: usize| self.listed.get(&index).copied().unwrap_or_default();
        for (index, listed) in listed().enumerate() {
            eprintln!("{:>4} {}", count(index), listed.row());
        }
        for ((ours, theirs), count) in &self.statuses {
            eprintln!("{count:>4} refused by both: {ours} here, {theirs} by Envoy");
        }
        let mut rules: Vec<_> = LISTED.iter().map(|listed| listed.rule).collect();
        rules.dedup();
        eprintln!(
            "{name}: {} requests, {} unlisted differences, {} listed ({})",
            self.requests,
            self.unlisted.len(),
            self.listed.values().sum::<usize>(),
            rules.join(" "),
        );
        let idle = LISTED
            .iter()
            .enumerate()
            .filter(|(index, _)| count(*index) == 0);
        let idle: Vec<_> = idle.map(|(_, listed)| listed.what).collect();
        assert!(idle.is_empty(), "listed, but not seen: {idle:#?}");
        assert!(self.unlisted.is_empty(), "the sidecar and Envoy differ");
    }
}

/// All listed differences; those that every run shows come first.
fn listed() -> impl Iterator<Item = &'static Listed> {
    LISTED.iter().chain(AT_TIMES)
}

#[test]
fn the_policy_page_lists_the_differences() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<_> = listed().map(Listed::row).collect();
    let missing: Vec<_> = rows.iter().filter(|row| !page.contains(*row)).collect();
    assert!(missing.is_empty(), "not on the page: {missing:#?}");
}

fn show(case: &Case, ours: &Outcome, theirs: &Outcome) -> String {
    let one = |outcome: &Outcome| {
        let seen: Vec<_> = outcome.seen.iter().map(ToString::to_string).collect();
        let mut text = format!("{:?} {:?} {seen:?}", outcome.fate(), outcome.statuses);
        if let Some((end, _)) = text.char_indices().nth(400) {
            text.truncate(end);
        }
        text
    };
    format!(
        "{} {}\n  ours:  {}\n  Envoy: {}",
        case.rule,
        case.message.show(),
        one(ours),
        one(theirs),
    )
}

const PATIENCE: [Duration; 3] = [
    Duration::from_millis(700),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
