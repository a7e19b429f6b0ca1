use super::*;
use crate::routing::balance::outcome::Head;

const NO_ANSWER: [TryOutcome; 5] = [
    TryOutcome::ConnectFailure,
    TryOutcome::RefusedStream,
    TryOutcome::Reset {
        is_request_started: true,
    },
    TryOutcome::PerTryTimeout,
    TryOutcome::Timeout,
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn head(status: u16) -> TryOutcome {
    TryOutcome::Head(Head::new(status))
}

fn all(settings: OutlierDetection) -> OutlierDetection {
    OutlierDetection {
        max_ejection_percent: 100,
        ..settings
    }
}

/// Records these tries of a new host, and returns what the last one did.
fn last(settings: OutlierDetection, outcomes: &[TryOutcome]) -> Option<Ejection> {
    let detector = OutlierDetector::new(settings, 1);
    let host = HostErrors::default();
    let mut last = None;
    for outcome in outcomes {
        assert_eq!(last, None);
        last = detector.record(&host, *outcome, seconds(1));
    }
    assert_eq!(host.is_ejected(), last.is_some());
    assert_eq!(detector.ejected(), usize::from(last.is_some()));
    last
}

#[test]
fn five_server_errors_in_a_row_eject_a_host() {
    let settings = all(OutlierDetection::default());
    assert_eq!(
        last(settings, &[head(500); 5]),
        Some(Ejection::Consecutive5xx)
    );
    assert_eq!(last(settings, &[head(500); 4]), None);
    let (bad, good) = (head(599), head(499));
    assert_eq!(
        last(settings, &[bad, bad, bad, bad, good, bad, bad, bad, bad]),
        None
    );
    assert_eq!(last(settings, &[TryOutcome::Overflow; 9]), None);
}

#[test]
fn the_default_stays_where_only_gateway_errors_are_set() {
    let settings = all(OutlierDetection {
        consecutive_gateway_errors: 2,
        ..OutlierDetection::default()
    });
    let tries = [head(500), head(500), head(500), head(500), head(502)];
    assert_eq!(last(settings, &tries), Some(Ejection::Consecutive5xx));
    assert_eq!(
        last(settings, &[head(503), head(504)]),
        Some(Ejection::ConsecutiveGatewayErrors)
    );
}

#[test]
fn another_server_error_ends_a_row_of_gateway_errors() {
    let settings = all(OutlierDetection {
        consecutive_5xx_errors: 0,
        consecutive_gateway_errors: 2,
        ..OutlierDetection::default()
    });
    assert_eq!(last(settings, &[head(502), head(500), head(502)]), None);
    let tries = [head(502), head(500), head(502), head(502)];
    assert_eq!(
        last(settings, &tries),
        Some(Ejection::ConsecutiveGatewayErrors)
    );
    assert_eq!(last(settings, &[head(500); 9]), None);
}

#[test]
fn no_answer_is_a_gateway_error_unless_it_has_its_own_counter() {
    let settings = all(OutlierDetection {
        consecutive_gateway_errors: 2,
        ..OutlierDetection::default()
    });
    for outcome in NO_ANSWER {
        let cause = last(settings, &[outcome; 2]);
        assert_eq!(
            cause,
            Some(Ejection::ConsecutiveGatewayErrors),
            "{outcome:?}"
        );
    }
    let split = OutlierDetection {
        splits_local_origin_errors: true,
        consecutive_local_origin_failures: 3,
        ..settings
    };
    for outcome in NO_ANSWER {
        let cause = last(split, &[outcome; 3]);
        assert_eq!(
            cause,
            Some(Ejection::ConsecutiveLocalOriginFailures),
            "{outcome:?}"
        );
        // Any answer shows that the host can be reached, and no answer leaves the others alone.
        assert_eq!(
            last(split, &[outcome, outcome, head(500), outcome, outcome]),
            None
        );
        let tries = [head(502), outcome, head(502)];
        assert_eq!(
            last(split, &tries),
            Some(Ejection::ConsecutiveGatewayErrors)
        );
    }
}

#[test]
fn a_grpc_status_in_the_head_counts_as_its_http_status() {
    let settings = all(OutlierDetection {
        consecutive_5xx_errors: 1,
        consecutive_gateway_errors: 1,
        ..OutlierDetection::default()
    });
    for (status, cause) in [
        (2, Some(Ejection::Consecutive5xx)),
        (4, Some(Ejection::ConsecutiveGatewayErrors)),
        (13, Some(Ejection::Consecutive5xx)),
        (14, Some(Ejection::ConsecutiveGatewayErrors)),
        (15, Some(Ejection::Consecutive5xx)),
        (99, Some(Ejection::Consecutive5xx)),
    ] {
        assert_eq!(
            last(settings, &[TryOutcome::Head(Head::grpc(status))]),
            cause,
            "{status}"
        );
    }
    for status in [0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 16] {
        assert_eq!(
            last(settings, &[TryOutcome::Head(Head::grpc(status))]),
            None,
            "{status}"
        );
    }
}

#[test]
fn no_more_than_the_percentage_is_ejected() {
    // Hosts, percentage, and how many of them can be ejected.
    for (hosts, percent, most) in [
        (2, 10, 0),
        (2, 50, 1),
        (9, 10, 0),
        (10, 10, 1),
        (3, 100, 3),
        (3, 250, 3),
        (3, 0, 0),
    ] {
        let settings = OutlierDetection {
            max_ejection_percent: percent,
            ..OutlierDetection::default()
        };
        let detector = OutlierDetector::new(settings, hosts);
        let all: Vec<_> = std::iter::repeat_with(HostErrors::default)
            .take(hosts)
            .collect();
        for host in &all {
            for _ in 0..20 {
                detector.record(host, head(503), seconds(1));
            }
        }
        assert_eq!(detector.ejected(), most, "{hosts} {percent}");
        assert_eq!(all.iter().filter(|host| host.is_ejected()).count(), most);
    }
}

#[test]
fn a_host_that_may_not_be_ejected_begins_again() {
    let detector = OutlierDetector::new(OutlierDetection::default(), 2);
    let host = HostErrors::default();
    let record = || detector.record(&host, head(500), seconds(1));
    for _ in 0..5 {
        assert_eq!(record(), None);
    }
    detector.set_hosts(10);
    for _ in 0..4 {
        assert_eq!(record(), None);
    }
    assert_eq!(record(), Some(Ejection::Consecutive5xx));
}

fn eject(detector: &OutlierDetector, host: &HostErrors, now: Duration) {
    for _ in 0..4 {
        assert_eq!(detector.record(host, head(500), now), None);
    }
    assert_eq!(
        detector.record(host, head(500), now),
        Some(Ejection::Consecutive5xx)
    );
}

#[test]
fn each_ejection_in_a_row_is_longer_and_a_return_begins_anew() {
    let detector = OutlierDetector::new(all(OutlierDetection::default()), 1);
    let host = HostErrors::default();
    let mut now = seconds(7);
    for length in [30, 60, 90] {
        eject(&detector, &host, now);
        let almost = now + seconds(length) - Duration::from_nanos(1);
        assert_eq!(detector.sweep(&host, almost), Sweep::Unchanged);
        // Tries that were in flight do no more.
        assert_eq!(detector.record(&host, head(500), almost), None);
        now += seconds(length);
        assert_eq!(detector.sweep(&host, now), Sweep::Returned);
        assert!(!host.is_ejected());
        assert_eq!(detector.ejected(), 0);
    }
}

#[test]
fn an_ejection_lasts_300_seconds_at_most_or_its_base() {
    for (base, longest) in [(30, 300), (400, 400), (299, 300)] {
        let settings = OutlierDetection {
            base_ejection_time: seconds(base),
            ..all(OutlierDetection::default())
        };
        let detector = OutlierDetector::new(settings, 1);
        let host = HostErrors::default();
        let mut now = seconds(0);
        for _ in 0..30 {
            eject(&detector, &host, now);
            now += seconds(longest);
            assert_eq!(detector.sweep(&host, now), Sweep::Returned);
        }
        eject(&detector, &host, now);
        let almost = now + seconds(longest) - Duration::from_nanos(1);
        assert_eq!(detector.sweep(&host, almost), Sweep::Unchanged);
        // It does not take longer to be forgiven than the longest time has bases in it.
        assert!(u64::from(host.ejections.load(Ordering::Relaxed)) <= longest / base + 2);
    }
}

#[test]
fn a_host_that_stays_well_for_an_interval_is_forgiven_one_ejection() {
    let detector = OutlierDetector::new(all(OutlierDetection::default()), 1);
    let host = HostErrors::default();
    let k = || host.ejections.load(Ordering::Relaxed);
    eject(&detector, &host, seconds(0));
    assert_eq!(detector.sweep(&host, seconds(30)), Sweep::Returned);
    eject(&detector, &host, seconds(31));
    assert_eq!(detector.sweep(&host, seconds(91)), Sweep::Returned);
    assert_eq!(k(), 2);
    assert_eq!(detector.sweep(&host, seconds(100)), Sweep::Unchanged);
    assert_eq!(k(), 2);
    detector.sweep(&host, seconds(101));
    assert_eq!(k(), 1);
    detector.sweep(&host, seconds(111));
    detector.sweep(&host, seconds(121));
    assert_eq!(k(), 0);
}

/// As seen on Envoy: base 2 s, sweeps each second.
#[test]
fn a_return_waits_for_the_next_sweep() {
    let settings = OutlierDetection {
        base_ejection_time: seconds(2),
        interval: seconds(1),
        ..all(OutlierDetection::default())
    };
    let detector = OutlierDetector::new(settings, 1);
    let host = HostErrors::default();
    eject(&detector, &host, Duration::from_millis(300));
    let returned = (1..9).find(|at| detector.sweep(&host, seconds(*at)) == Sweep::Returned);
    assert_eq!(returned, Some(3));
}

#[test]
fn a_host_that_goes_leaves_its_place_to_another() {
    let settings = OutlierDetection {
        max_ejection_percent: 50,
        ..OutlierDetection::default()
    };
    let detector = OutlierDetector::new(settings, 2);
    let (one, two) = (HostErrors::default(), HostErrors::default());
    eject(&detector, &one, seconds(0));
    for _ in 0..9 {
        assert_eq!(detector.record(&two, head(500), seconds(0)), None);
    }
    detector.forget(&one);
    detector.forget(&one);
    assert_eq!(detector.ejected(), 0);
    detector.record(&two, head(500), seconds(0));
    assert!(two.is_ejected());
}

#[test]
fn of_many_threads_one_ejects() {
    let detector = OutlierDetector::new(all(OutlierDetection::default()), 1);
    let host = HostErrors::default();
    let ejections: usize = std::thread::scope(|scope| {
        let (detector, host) = (&detector, &host);
        let record = || detector.record(host, head(503), seconds(1));
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || (0..500).filter_map(|_| record()).count()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((ejections, detector.ejected()), (1, 1));
}
