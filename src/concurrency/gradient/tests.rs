use std::time::Duration;

use super::Gradient;
use crate::concurrency::latencies::{Latencies, Snapshot};
use crate::concurrency::options::Adaptive;

const SECOND: u64 = 1_000_000_000;

/// So many samples of a latency.
fn samples(count: usize, millis: u64) -> Snapshot {
    let latencies = Latencies::new();
    (0..count).for_each(|_| latencies.add(millis * 1_000_000));
    latencies.snapshot()
}

/// A limit that knows that a request takes 10 ms.
fn measured(options: Adaptive) -> Gradient {
    let mut gradient = Gradient::new(options);
    assert!(gradient.update(&samples(50, 10), 20, 1));
    gradient
}

/// Runs windows of 100 ms with a latency that depends on the limit, from a time in tenths of a
/// second, and returns the last limit.
fn run(gradient: &mut Gradient, tenths: std::ops::Range<u64>, latency: impl Fn(u32) -> u64) -> u32 {
    for tenth in tenths {
        let limit = gradient.limit();
        gradient.update(&samples(100, latency(limit)), limit, tenth * SECOND / 10);
    }
    gradient.limit()
}

#[test]
fn the_first_measurement_is_made_with_the_initial_limit() {
    let mut gradient = Gradient::new(Adaptive::new().initial(8));
    assert_eq!(gradient.limit(), 8);
    assert!(!gradient.update(&samples(49, 10), 8, 1));
    assert_eq!(gradient.least_latency, None);
    assert!(gradient.update(&samples(50, 10), 8, 2));
    assert_eq!(gradient.limit(), 8);
}

#[test]
fn a_limit_without_queues_grows_to_the_most() {
    let mut gradient = measured(Adaptive::new().bounds(3, 400));
    assert_eq!(run(&mut gradient, 1..500, |_| 10), 400);
}

#[test]
fn a_limit_that_nobody_needs_does_not_grow() {
    let mut gradient = measured(Adaptive::new());
    for tenth in 1..100 {
        gradient.update(&samples(100, 10), 5, tenth * SECOND / 10);
    }
    assert_eq!(gradient.limit(), 20);
}

#[test]
fn a_limit_falls_to_the_least_while_all_is_slow() {
    let mut gradient = measured(Adaptive::new().bounds(4, 400));
    // The square root keeps it above the least a little, as in Envoy.
    let limit = run(&mut gradient, 1..100, |_| 500);
    assert!((4..=6).contains(&limit), "{limit}");
}

/// An application that does a hundred requests at once in 10 ms, and lets others wait.
fn of_hundred(limit: u32) -> u64 {
    10 * u64::from(limit.max(100)) / 100
}

#[test]
fn a_limit_settles_where_queues_begin_and_stays_there_over_probes() {
    let mut gradient = measured(Adaptive::new());
    for tenths in [1..500, 500..2_000, 2_000..6_000] {
        let limit = run(&mut gradient, tenths, of_hundred);
        assert!((50..=180).contains(&limit), "{limit}");
    }
}

/// A probe admits half, ends with fifty samples, and takes over what it measures.
#[test]
fn a_probe_finds_that_the_application_has_become_slower() {
    let mut gradient = measured(Adaptive::new().probe_interval(Duration::from_secs(10)));
    let before = gradient.limit();
    assert!(gradient.update(&samples(100, 30), before, 11 * SECOND));
    assert_eq!(gradient.limit(), before / 2);
    assert!(!gradient.update(&samples(20, 30), before, 12 * SECOND));
    assert!(gradient.update(&samples(60, 30), before, 13 * SECOND));
    assert_eq!(gradient.limit(), before);
    assert!(run(&mut gradient, 131..200, |_| 30) > before);
}

/// Few requests neither end a probe too early nor keep it open.
#[test]
fn a_probe_without_requests_ends() {
    let mut gradient = measured(Adaptive::new().probe_interval(Duration::from_secs(10)));
    let known = gradient.least_latency;
    gradient.update(&samples(0, 1), 0, 11 * SECOND);
    assert!(gradient.update(&samples(3, 900), 1, 17 * SECOND));
    assert_eq!(gradient.least_latency, known);
    assert_eq!(gradient.limit(), 20);
}

#[test]
fn a_window_with_few_samples_goes_on() {
    let mut gradient = measured(Adaptive::new());
    assert!(!gradient.update(&samples(9, 900), 20, SECOND));
    assert_eq!(gradient.limit(), 20);
}

#[test]
fn an_initial_limit_is_within_the_bounds() {
    for (initial, expected) in [(1, 4), (4, 4), (30, 30), (50, 50), (51, 50), (u32::MAX, 50)] {
        let first = Adaptive::new().initial(initial).bounds(4, 50);
        let last = Adaptive::new().bounds(4, 50).initial(initial);
        for options in [first, last] {
            assert_eq!(Gradient::new(options).limit(), expected, "{initial}");
            assert_eq!(measured(options).limit(), expected, "{initial}");
        }
    }
}
