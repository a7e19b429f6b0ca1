use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, StatusCode};

use super::{ConcurrencyLimit, Limiter, Permit};
use crate::concurrency::options::Adaptive;

fn limiter(limit: &ConcurrencyLimit) -> Arc<Limiter> {
    Arc::new(Limiter::new(limit))
}

#[test]
fn so_many_are_admitted_and_no_more() {
    let limiter = limiter(&ConcurrencyLimit::fixed(3));
    let mut permits: Vec<Permit> = (0..3).filter_map(|_| limiter.admit()).collect();
    assert_eq!((permits.len(), limiter.in_flight()), (3, 3));
    assert!(limiter.admit().is_none() && limiter.admit().is_none());
    permits.pop();
    assert!(limiter.admit().is_some());
    drop(permits);
    assert_eq!((limiter.in_flight(), limiter.refused()), (0, 2));
}

#[test]
fn threads_never_exceed_the_limit() {
    let limiter = limiter(&ConcurrencyLimit::fixed(5));
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let Some(permit) = limiter.admit() else {
                        continue;
                    };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.into_inner() <= 5);
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn whole_paths_are_exempt() {
    let limiter = limiter(&ConcurrencyLimit::fixed(1));
    for path in ConcurrencyLimit::HEALTH_PATHS {
        assert!(limiter.exempts(path));
    }
    for path in ["/", "/healthz/", "/healthz2", "/app/healthz", ""] {
        assert!(!limiter.exempts(path), "{path}");
    }
    assert!(!Limiter::new(&ConcurrencyLimit::fixed(1).exempt([])).exempts("/healthz"));
}

/// Requests that take long because they wait lower the limit; short ones raise it again.
#[test]
fn an_adaptive_limit_follows_the_latency() {
    const MILLI: u64 = 1_000_000;
    let limiter = limiter(&ConcurrencyLimit::adaptive(Adaptive::new()));
    let mut now = 0;
    // Each window as many requests as are admitted, at once.
    let mut run = |windows: u64, millis: u64| {
        for _ in 0..windows {
            let mut permits: Vec<_> = (0..2_000).map_while(|_| limiter.admit()).collect();
            for permit in &mut permits {
                permit.called_at(now);
                permit.answered_at(false, now + millis * MILLI);
            }
            now += 100 * MILLI;
        }
        limiter.limit()
    };
    let quick = run(100, 10);
    assert!(quick > 200, "{quick}");
    let slow = run(50, 99);
    assert!(slow < quick / 4, "{slow}");
    assert!(run(100, 10) > slow);
}

#[test]
fn errors_and_refusals_are_no_samples() {
    let limiter = limiter(&ConcurrencyLimit::adaptive(Adaptive::new()));
    let samples = || {
        let adapting = limiter.adaptive.as_ref().unwrap();
        adapting.latencies.snapshot().count()
    };
    let answer = |status: u16, grpc: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(grpc) = grpc {
            headers.insert("grpc-status", grpc.parse().unwrap());
        }
        let mut permit = limiter.admit().unwrap();
        permit.called();
        permit.answered(StatusCode::from_u16(status).unwrap(), &headers);
    };
    for (status, grpc) in [
        (401, None),
        (403, None),
        (429, None),
        (500, None),
        (200, Some("7")),
    ] {
        answer(status, grpc);
        assert_eq!(samples(), 0, "{status} {grpc:?}");
    }
    answer(200, None);
    answer(200, Some("0"));
    answer(304, None);
    assert_eq!(samples(), 3);
    // Guards answer without the application.
    for status in [StatusCode::OK, StatusCode::FOUND, StatusCode::FORBIDDEN] {
        let mut permit = limiter.admit().unwrap();
        permit.answered(status, &HeaderMap::new());
        assert_eq!(samples(), 3, "{status}");
    }
}

#[test]
fn an_initial_limit_is_within_the_bounds() {
    for (initial, expected) in [(1, 4), (30, 30), (51, 50)] {
        let options = Adaptive::new().initial(initial).bounds(4, 50);
        let limiter = limiter(&ConcurrencyLimit::adaptive(options));
        assert_eq!(limiter.limit(), expected, "{initial}");
    }
}

/// Streams that use the limit up would else keep it as it is until they end.
#[test]
fn streams_leave_room_for_requests_that_bring_samples() {
    let options = Adaptive::new().initial(4).bounds(2, 8);
    let limiter = limiter(&ConcurrencyLimit::adaptive(options));
    let stream = || {
        let mut permit = limiter.admit()?;
        permit.answered(StatusCode::OK, &HeaderMap::new());
        Some(permit)
    };
    let mut streams: Vec<_> = (0..4).filter_map(|_| stream()).collect();
    let mut waiting: Vec<_> = (0..5).filter_map(|_| limiter.admit()).collect();
    assert_eq!((streams.len(), waiting.len()), (4, 2));
    // One that is answered or goes away makes room for another.
    waiting.pop();
    streams.extend(stream());
    waiting.extend(limiter.admit());
    assert_eq!((waiting.len(), limiter.in_flight()), (2, 7));
    assert!(limiter.admit().is_none());
    waiting.clear();
    // No more than the most are under way, whoever they are.
    streams.extend((0..9).map_while(|_| stream()));
    assert_eq!((streams.len(), limiter.in_flight()), (8, 8));
    streams.clear();
    let unanswered = &limiter.adaptive.as_ref().unwrap().unanswered;
    assert_eq!(
        (limiter.in_flight(), unanswered.load(Ordering::Relaxed)),
        (0, 0)
    );
}

/// A probe ends in its time also while the application answers with errors alone.
#[test]
fn a_probe_among_errors_ends() {
    const SECOND: u64 = 1_000_000_000;
    let limiter = limiter(&ConcurrencyLimit::adaptive(Adaptive::new()));
    let answer = |is_error: bool, now: u64| {
        let mut permit = limiter.admit().unwrap();
        permit.called_at(now);
        permit.answered_at(is_error, now + 1_000_000);
    };
    (0..50).for_each(|_| answer(false, SECOND));
    answer(false, 2 * SECOND);
    assert_eq!(limiter.limit(), 20);
    answer(false, 63 * SECOND);
    assert_eq!(limiter.limit(), 10, "a probe");
    answer(true, 64 * SECOND);
    assert_eq!(limiter.limit(), 10);
    answer(true, 69 * SECOND);
    assert_eq!(limiter.limit(), 20);
}
