use super::*;
use crate::routing::balance::RetryBudget;

fn breaker(thresholds: Thresholds) -> CircuitBreaker {
    CircuitBreaker::new(thresholds)
}

/// As seen on Envoy: one connection, one pending, three HTTP/1 calls.
#[test]
fn one_call_runs_one_waits_and_one_is_too_much() {
    let breaker = breaker(Thresholds {
        connections: 1,
        pending: 1,
        ..Thresholds::default()
    });
    // Each finds no connection ready. The first opens one and leaves the queue.
    let first = breaker.admit(false);
    assert!(matches!(first, Ok(Admitted::Pending(_))));
    let connection = breaker.connection(0).unwrap();
    let request = breaker.request().unwrap();
    drop(first);
    let second = breaker.admit(false).unwrap();
    assert_eq!(breaker.connection(1).unwrap_err(), Overflow::Connections);
    assert_eq!(breaker.admit(false).unwrap_err(), Overflow::Pending);
    // When the body of the first has ended, the second goes on, and another may wait.
    drop(request);
    let _request = breaker.request().unwrap();
    drop(second);
    assert!(breaker.admit(false).is_ok());
    drop(connection);
    assert!(breaker.connection(1).is_ok());
}

#[test]
fn a_call_with_a_connection_counts_as_request_only() {
    let breaker = breaker(Thresholds {
        pending: 0,
        requests: 1,
        ..Thresholds::default()
    });
    assert_eq!(breaker.admit(false).unwrap_err(), Overflow::Pending);
    let first = breaker.admit(true).unwrap();
    assert!(matches!(first, Admitted::Ready(_)));
    assert_eq!(breaker.admit(true).unwrap_err(), Overflow::Requests);
    drop(first);
    assert!(breaker.admit(true).is_ok());
}

#[test]
fn each_host_may_have_its_first_connection() {
    let breaker = breaker(Thresholds {
        connections: 1,
        ..Thresholds::default()
    });
    let connections: Vec<_> = (0..3).map(|_| breaker.connection(0).unwrap()).collect();
    assert_eq!(breaker.connection(1).unwrap_err(), Overflow::Connections);
    drop(connections);
    assert!(breaker.connection(1).is_ok());
}

#[test]
fn retries_have_places_of_their_own() {
    let breaker = breaker(Thresholds {
        retries: 1,
        ..Thresholds::default()
    });
    let first = breaker.retry().unwrap();
    assert_eq!(breaker.retry().unwrap_err(), Overflow::Retries);
    drop(first);
    assert!(breaker.retry().is_ok());
}

#[test]
fn a_budget_replaces_the_threshold_of_retries() {
    let breaker = breaker(Thresholds {
        retries: 0,
        ..Thresholds::default()
    });
    let budget = RetryBudget::default();
    let retry =
        || breaker.retry_within(|retries, active, pending| budget.allows(retries, active, pending));
    let mut retries: Vec<_> = (0..3).map(|_| retry().unwrap()).collect();
    assert_eq!(retry().unwrap_err(), Overflow::Retries);
    let _requests: Vec<_> = (0..15).map(|_| breaker.request().unwrap()).collect();
    let _pending: Vec<_> = (0..5).map(|_| breaker.admit(false).unwrap()).collect();
    retries.push(retry().unwrap());
    assert_eq!(retry().unwrap_err(), Overflow::Retries);
}

#[test]
fn lower_thresholds_hold_as_places_become_free() {
    let breaker = breaker(Thresholds::default());
    let mut requests: Vec<_> = (0..3).map(|_| breaker.request().unwrap()).collect();
    breaker.set_thresholds(Thresholds {
        requests: 2,
        ..Thresholds::default()
    });
    assert!(breaker.request().is_err());
    requests.pop();
    assert!(breaker.request().is_err());
    requests.pop();
    assert!(breaker.request().is_ok());
}

#[test]
fn threads_do_not_overrun_a_threshold() {
    let breaker = breaker(Thresholds {
        requests: 100,
        ..Thresholds::default()
    });
    let taken: Vec<Vec<Place>> = std::thread::scope(|scope| {
        let breaker = &breaker;
        let take = move || (0..100).filter_map(|_| breaker.request().ok()).collect();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 100);
}
