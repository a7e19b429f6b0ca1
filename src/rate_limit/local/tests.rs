use std::time::Duration;

use super::{Judged, LocalLimit, Matching};
use crate::policy::limit::{Local, TokenBucket};
use crate::rate_limit::actions::{Made, Sink};
use crate::rate_limit::bucket::Tick;

/// So many tokens for an hour.
fn hourly(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, Duration::from_secs(3_600))
}

fn at(seconds: u64) -> Tick {
    Tick::after(Duration::from_secs(seconds))
}

type Entries = [(&'static str, &'static str)];

/// Judges a request with these descriptors.
fn ask(limit: &LocalLimit, connection: u64, descriptors: &[&Entries]) -> Judged {
    let write = |entries: &&Entries, sink: &mut Matching<'_>| {
        for (key, value) in entries.iter() {
            sink.entry(key, value.as_bytes());
        }
        match entries.is_empty() {
            true => Made::Dropped,
            false => Made::Entries,
        }
    };
    limit.judge(connection, descriptors, write, at(1), true)
}

/// How many of ten such requests pass.
fn passed(limit: &LocalLimit, descriptors: &[&Entries]) -> usize {
    (0..10)
        .filter(|_| !ask(limit, 1, descriptors).is_refused)
        .count()
}

const GET: &Entries = &[("method", "GET")];
const POST: &Entries = &[("method", "POST")];
const GET_A: &Entries = &[("method", "GET"), ("user", "a")];
const GET_B: &Entries = &[("method", "GET"), ("user", "b")];
const POST_A: &Entries = &[("method", "POST"), ("user", "a")];

#[test]
fn the_default_bucket_counts_what_no_descriptor_matches() {
    let limit = LocalLimit::new(&Local::new(hourly(4)));
    assert_eq!(passed(&limit, &[]), 4);
    let limit = LocalLimit::new(&Local::new(hourly(4)).descriptor([("method", "GET")], hourly(2)));
    assert_eq!(passed(&limit, &[POST]), 4);
}

/// Envoy: the default bucket is also asked when a descriptor matches, behind it.
#[test]
fn a_request_takes_from_its_descriptor_and_then_from_the_default() {
    let spec = || Local::new(hourly(3)).descriptor([("method", "GET")], hourly(2));
    let limit = LocalLimit::new(&spec());
    assert_eq!(passed(&limit, &[GET]), 2);
    assert_eq!(passed(&limit, &[POST]), 1, "the refused ones took none");
    let mut only_unmatched = spec();
    only_unmatched.always_consume_default = false;
    let limit = LocalLimit::new(&only_unmatched);
    assert_eq!(passed(&limit, &[GET]), 2);
    assert_eq!(passed(&limit, &[POST]), 3);
}

#[test]
fn a_descriptor_is_equal_entry_by_entry() {
    let spec = Local::default().descriptor(GET_A.iter().copied(), hourly(2));
    for (descriptor, expected) in [
        (GET_A, 2),
        (GET_B, 10),
        (GET, 10),
        (&[("user", "a"), ("method", "GET")] as &Entries, 10),
        (&[("method", "GET"), ("user", "a"), ("more", "x")], 10),
        (&[("method", "GET"), ("User", "a")], 10),
        (&[], 10),
    ] {
        let limit = LocalLimit::new(&spec);
        assert_eq!(passed(&limit, &[descriptor]), expected, "{descriptor:?}");
    }
}

#[test]
fn an_empty_value_gives_each_value_its_bucket() {
    let spec = Local::default()
        .descriptor([("method", "GET"), ("user", "")], hourly(2))
        .descriptor(GET_B.iter().copied(), hourly(5));
    let limit = LocalLimit::new(&spec);
    assert_eq!(passed(&limit, &[GET_A]), 2);
    assert_eq!(passed(&limit, &[&[("method", "GET"), ("user", "c")]]), 2);
    assert_eq!(passed(&limit, &[GET_B]), 5, "the written value counts");
    assert_eq!(passed(&limit, &[POST_A]), 10);
    assert_eq!(limit.keys(), 2);
}

/// Values cannot be cut so that two pairs look alike.
#[test]
fn values_do_not_run_together() {
    let limit = LocalLimit::new(&Local::default().descriptor([("a", ""), ("b", "")], hourly(1)));
    for entries in [
        [("a", "x"), ("b", "yz")],
        [("a", "xy"), ("b", "z")],
        [("a", "xyz"), ("b", "")],
        [("a", ""), ("b", "xyz")],
    ] {
        assert_eq!(passed(&limit, &[&entries]), 1, "{entries:?}");
    }
}

/// The slowest bucket is asked first, and those behind one that refuses keep their tokens.
#[test]
fn several_descriptors_all_count() {
    let spec = Local::new(hourly(9))
        .descriptor([("method", "GET")], hourly(6))
        .descriptor([("method", "GET"), ("user", "a")], hourly(2));
    let limit = LocalLimit::new(&spec);
    assert_eq!(passed(&limit, &[GET, GET_A]), 2);
    assert_eq!(passed(&limit, &[GET]), 4);
    assert_eq!(passed(&limit, &[]), 3);
}

/// Envoy: what a bucket gave before another refused, it does not get back; a descriptor that comes
/// twice takes two tokens.
#[test]
fn tokens_of_refused_requests_are_gone() {
    let spec = Local::default()
        .descriptor([("user", "")], hourly(3))
        .descriptor([("place", "")], hourly(3));
    let (user, place): (&Entries, &Entries) = (&[("user", "a")], &[("place", "x")]);
    let limit = LocalLimit::new(&spec);
    assert_eq!(passed(&limit, &[place]), 3);
    assert_eq!(
        passed(&limit, &[user, place]),
        0,
        "as fast: in the request's order"
    );
    assert_eq!(passed(&limit, &[user]), 0);
    let limit = LocalLimit::new(&spec);
    assert!(!ask(&limit, 1, &[user, user]).is_refused);
    assert_eq!(passed(&limit, &[user]), 1);
}

#[test]
fn a_value_without_a_place_is_told() {
    let mut spec = Local::default().descriptor([("user", "")], hourly(1));
    spec.max_keys = 1;
    let limit = LocalLimit::new(&spec);
    let user = |name: &'static str| ask(&limit, 1, &[&[("user", name)]]);
    assert!(!user("a").is_overflow);
    let overflow = user("b");
    assert!(overflow.is_overflow && !overflow.is_refused);
    assert!(user("c").is_overflow && user("c").is_refused);
}

#[test]
fn a_connection_has_buckets_of_its_own() {
    let spec = Local::new(hourly(5))
        .descriptor([("method", "GET")], hourly(2))
        .per_connection();
    let limit = LocalLimit::new(&spec);
    let passed = |connection, descriptor: &[&Entries]| {
        let all = (0..10).filter(|_| !ask(&limit, connection, descriptor).is_refused);
        all.count()
    };
    for connection in [1, 2] {
        assert_eq!(passed(connection, &[GET]), 2);
        assert_eq!(passed(connection, &[POST]), 3);
    }
}

/// As Envoy: the level is that of the first bucket that was asked, or of the one that refuses.
#[test]
fn the_bucket_that_was_asked_first_is_shown() {
    let spec = Local::new(hourly(3)).descriptor([("method", "GET")], hourly(60));
    let limit = LocalLimit::new(&spec);
    let shown = |descriptor| {
        let level = ask(&limit, 1, &[descriptor]).level.unwrap();
        (level.max_tokens, level.left, level.next_token.as_secs())
    };
    assert_eq!(shown(POST), (3, 2, 0));
    assert_eq!(shown(GET), (60, 59, 0));
    assert_eq!(shown(GET), (60, 58, 0));
    assert_eq!(shown(GET), (3, 0, 1_200), "the default refuses");
    let slow = Local::new(hourly(60)).descriptor([("method", "GET")], hourly(2));
    let limit = LocalLimit::new(&slow);
    let shown = || {
        ask(&limit, 1, &[GET])
            .level
            .map(|level| (level.max_tokens, level.left))
    };
    assert_eq!(shown(), Some((2, 1)));
    let nothing = LocalLimit::new(&Local::default());
    assert_eq!(ask(&nothing, 1, &[GET]).level, None);
}
