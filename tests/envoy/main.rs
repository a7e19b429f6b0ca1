//! The engine and a real Envoy give the same answers: `run.sh` beside this file installs an Envoy and runs this.
//!
//! Each policy set is loaded into Envoy exactly as `tower-mesh envoy` prints it. The same requests go to Envoy over sockets, with real
//! client certificates and real tokens, and to `tower-mesh check`; status, deciding policy, dry runs, audit and the providers that were
//! asked are compared.
//!
//! Several tokens in one request are compared with our guards in place of `check`, and raw requests with the sidecar example. Authorizers and
//! rate limits are compared with whole meshes, which ask the same servers as Envoy.
//! What both tell of the same requests, and of the same calls, is compared field by field: headers, spans, log lines and metrics.
//!
//! `ENVOY` names the program; without it nothing is compared, which is said, and is a failure when `ENVOY_REQUIRED` is set.
//! `ENVOY_SETS`, `ENVOY_REQUESTS` (of each set), `ENVOY_RAW` (random raw requests) and `ENVOY_SEED` choose what is random.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    reason = "a test may panic and lock"
)]

mod calls;
mod compare;
mod external;
mod limits;
#[path = "../support/random.rs"]
mod random;
mod raw;
mod server;
mod stub;
mod table;
mod telemetry;
mod tokens;
mod wire;
#[path = "../support/world.rs"]
mod world;

use std::path::PathBuf;

use serde_json::Value;

use crate::compare::{Tally, compare};
use crate::random::Random;
use crate::tokens::{Parties, Tokens};
use crate::wire::Callers;
use crate::world::World;

/// How many sets one Envoy serves.
const BATCH: usize = 50;

#[test]
fn the_tables_get_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let mut callers = Callers::new();
    let worlds = table::worlds(callers.issuers());
    let tally = compare(&envoy, &worlds, &mut callers, |_| {});
    tally.report("tables");
    assert!(tally.differences.is_empty());
}

#[test]
fn random_sets_get_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let (sets, requests) = (number("ENVOY_SETS", 220), number("ENVOY_REQUESTS", 12));
    let seed = number("ENVOY_SEED", 20_261_123);
    let mut callers = Callers::new();
    let mut random = Random::new(seed as u64);
    let mut tally = Tally::default();
    let worlds: Vec<World> = (0..sets)
        .map(|index| match index % 8 {
            7 => random::legacy_world(&mut random, &format!("legacy {index}"), requests),
            _ => random::world(
                &mut random,
                callers.issuers(),
                &format!("random {index}"),
                requests,
            ),
        })
        .collect();
    for batch in worlds.chunks(BATCH) {
        tally.add(compare(&envoy, batch, &mut callers, |_| {}));
    }
    tally.report(&format!("seed {seed}"));
    assert!(tally.differences.is_empty());
    let share = |count: usize| count * 100 / tally.requests.max(1);
    assert!(
        share(tally.allowed) >= 15 && share(tally.denied) >= 15,
        "too one-sided"
    );
}

#[test]
fn the_table_of_tokens_gets_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let mut callers = Callers::new();
    let worlds = Parties::new().table();
    let tokens = tokens::compare(&envoy, &worlds, &mut callers);
    tokens.report("table of tokens");
    assert!(tokens.tally.differences.is_empty());
    assert!(tokens.with_claims >= 50 && tokens.tally.denied >= 50 && tokens.undecided == 0);
}

#[test]
fn several_tokens_get_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let (sets, requests) = (number("ENVOY_SETS", 220), number("ENVOY_REQUESTS", 12));
    let seed = number("ENVOY_SEED", 20_261_123);
    let mut callers = Callers::new();
    let mut random = Random::new(seed as u64);
    let parties = Parties::new();
    let worlds: Vec<World> = (0..sets)
        .map(|index| parties.world(&mut random, &format!("tokens {index}"), requests))
        .collect();
    let mut tokens = Tokens::default();
    for batch in worlds.chunks(BATCH) {
        tokens.add(tokens::compare(&envoy, batch, &mut callers));
    }
    tokens.report(&format!("tokens, seed {seed}"));
    assert!(tokens.tally.differences.is_empty());
    let share = |count: usize| count * 100 / tokens.tally.requests.max(1);
    let told = [tokens.tally.allowed, tokens.by_token, tokens.with_claims];
    assert!(
        told.into_iter().all(|count| share(count) >= 15),
        "too one-sided"
    );
    // The listed difference stays a rare one.
    assert!(share(tokens.undecided) <= 5, "too much is left out");
}

/// B-01 to B-15, B-20 to B-28, B-33, B-35, B-36 and B-37.
#[test]
fn raw_requests_get_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let (count, seed) = (number("ENVOY_RAW", 300), number("ENVOY_SEED", 20_261_123));
    let mut random = Random::new(seed as u64);
    raw::compare(&envoy, &mut random, count).report("raw");
}

#[test]
fn a_dropped_not_is_caught() {
    let Some(envoy) = envoy() else { return };
    let mut callers = Callers::new();
    let worlds = table::negative(callers.issuers());
    let tally = compare(&envoy, &worlds, &mut callers, |filters| {
        assert!(drop_not(filters), "the set has a `not`");
    });
    for world in &worlds {
        let caught = tally
            .differences
            .iter()
            .any(|difference| difference.contains(&world.name));
        assert!(caught, "{}: nobody noticed the dropped `not`", world.name);
    }
}

/// Replaces the first negation by what it negates.
fn drop_not(value: &mut Value) -> bool {
    if let Value::Object(object) = value {
        for key in ["not_rule", "not_id"] {
            if let Some(inner) = object.remove(key) {
                *value = inner;
                return true;
            }
        }
        return object.values_mut().any(drop_not);
    }
    value
        .as_array_mut()
        .is_some_and(|list| list.iter_mut().any(drop_not))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorizers_get_the_same_questions_and_give_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let differences = external::compare(&envoy).await;
    for difference in &differences {
        eprintln!("{difference}\n");
    }
    assert!(differences.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limits_get_the_same_answers() {
    let Some(envoy) = envoy() else { return };
    let differences = limits::compare(&envoy).await;
    for difference in &differences {
        eprintln!("{difference}\n");
    }
    assert!(differences.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_leave_the_same_headers_spans_and_lines() {
    let Some(envoy) = envoy() else { return };
    telemetry::compare(&envoy).await.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_leave_the_same_headers_spans_and_lines() {
    let Some(envoy) = envoy() else { return };
    calls::compare(&envoy).await.report();
}

fn envoy() -> Option<PathBuf> {
    let program = std::env::var_os("ENVOY").map(PathBuf::from);
    if program.is_none() {
        assert!(
            std::env::var_os("ENVOY_REQUIRED").is_none(),
            "ENVOY_REQUIRED is set, but ENVOY names no program; use tests/envoy/run.sh"
        );
        eprintln!("SKIPPED: no Envoy to compare with; use tests/envoy/run.sh");
    }
    program
}

fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}
