mod localities;
mod retries;

use std::collections::HashMap;
use std::time::Duration;

use super::*;

fn endpoint(address: &str, weight: u32) -> Endpoint {
    Endpoint {
        host: Arc::new(Host::new(address, Duration::ZERO)),
        weight,
    }
}

/// `n` hosts of weight 1: `NAME0`, `NAME1` and so on.
fn locality(name: &str, weight: u32, n: usize) -> LocalityEndpoints {
    LocalityEndpoints {
        locality: Locality::from_text(name),
        weight,
        endpoints: (0..n).map(|i| endpoint(&format!("{name}{i}"), 1)).collect(),
    }
}

fn weighted(weights: &[u32]) -> LocalityEndpoints {
    let endpoints = weights.iter().enumerate();
    LocalityEndpoints {
        locality: Locality::default(),
        weight: 1,
        endpoints: endpoints
            .map(|(i, weight)| endpoint(&i.to_string(), *weight))
            .collect(),
    }
}

fn set_health(locality: &LocalityEndpoints, hosts: std::ops::Range<usize>, health: Health) {
    for endpoint in &locality.endpoints[hosts] {
        endpoint.host.set_discovered(health);
    }
}

fn policy(policy: Policy) -> BalanceSettings {
    BalanceSettings {
        policy,
        ..BalanceSettings::default()
    }
}

const POLICIES: [Policy; 6] = [
    Policy::LeastRequest,
    Policy::RoundRobin,
    Policy::Random,
    Policy::RingHash { minimum_size: 1024 },
    Policy::Maglev { table_size: 1009 },
    Policy::PeakEwma,
];

/// How many of so many picks went to each host. No call stays in flight.
fn counts(set: &HostSet, call: &Call<'_>, picks: u32) -> HashMap<String, u32> {
    let mut random = fastrand::Rng::with_seed(11);
    let mut counts = HashMap::new();
    for _ in 0..picks {
        let pick = set.pick(call, &mut || random.u64(..)).unwrap();
        *counts.entry(pick.host.address().to_owned()).or_default() += 1;
    }
    counts
}

fn built(settings: &BalanceSettings, priorities: &[Vec<LocalityEndpoints>]) -> HostSet {
    let mut random = fastrand::Rng::with_seed(12);
    HostSet::new(settings, priorities, &mut || random.u64(..))
}

fn assert_near(counts: &HashMap<String, u32>, expected: &[(&str, u32)], tolerance: u32) {
    for (host, expected) in expected {
        let count = counts.get(*host).copied().unwrap_or(0);
        assert!(count.abs_diff(*expected) <= tolerance, "{host}: {counts:?}");
    }
}

#[test]
fn idle_hosts_get_calls_by_weight() {
    for (of, tolerance) in [
        (Policy::RoundRobin, 1),
        (Policy::LeastRequest, 500),
        (Policy::PeakEwma, 500),
    ] {
        let set = built(&policy(of), &[vec![weighted(&[1, 3, 6])]]);
        let counts = counts(&set, &Call::default(), 40_000);
        assert_near(
            &counts,
            &[("0", 4000), ("1", 12_000), ("2", 24_000)],
            tolerance,
        );
    }
    // Weights do not count here, as in Envoy.
    let set = built(&policy(Policy::Random), &[vec![weighted(&[1, 3])]]);
    let counts = counts(&set, &Call::default(), 40_000);
    assert_near(&counts, &[("0", 20_000), ("1", 20_000)], 400);
}

#[test]
fn of_two_hosts_the_less_busy_gets_the_call() {
    let locality = weighted(&[1, 1]);
    let busy = locality.endpoints[0].host.start();
    let set = built(&BalanceSettings::default(), &[vec![locality]]);
    assert_near(&counts(&set, &Call::default(), 1000), &[("1", 1000)], 0);
    drop(busy);
    assert_near(
        &counts(&set, &Call::default(), 10_000),
        &[("0", 5000), ("1", 5000)],
        200,
    );
}

#[test]
fn calls_in_flight_settle_by_weight() {
    let set = built(&BalanceSettings::default(), &[vec![weighted(&[1, 3])]]);
    let mut random = fastrand::Rng::with_seed(13);
    let calls: Vec<_> = (0..4000)
        .map(|_| {
            let pick = set.pick(&Call::default(), &mut || random.u64(..)).unwrap();
            pick.host.start()
        })
        .collect();
    let first = calls
        .iter()
        .filter(|call| call.host().address() == "0")
        .count();
    assert!(first.abs_diff(1000) <= 10, "{first}");
}

#[test]
fn a_slow_host_gets_fewer_calls() {
    let locality = weighted(&[1, 1]);
    let slow = &locality.endpoints[0].host;
    slow.latency()
        .record(Duration::from_secs(1), Duration::ZERO);
    let set = built(&policy(Policy::PeakEwma), &[vec![locality]]);
    assert_near(&counts(&set, &Call::default(), 1000), &[("1", 1000)], 0);
}

#[test]
fn a_new_host_warms_up() {
    let mut settings = policy(Policy::RoundRobin);
    settings.warm_up = Some(WarmUp::new(Duration::from_secs(100)));
    let new = Endpoint {
        host: Arc::new(Host::new("new", Duration::from_secs(1000))),
        weight: 2,
    };
    let mut locality = weighted(&[1, 1]);
    locality.endpoints.push(new);
    let priorities = [vec![locality]];
    for of in [Policy::RoundRobin, Policy::LeastRequest] {
        settings.policy = of;
        let set = built(&settings, &priorities);
        // A weight of 0.2, 1 and 2 besides two of 1.
        for (age, expected) in [(1, 3636), (50, 13_333), (100, 20_000)] {
            let call = Call {
                now: Duration::from_secs(1000 + age),
                ..Call::default()
            };
            let counts = counts(&set, &call, 40_000);
            assert_near(&counts, &[("new", expected)], 500);
        }
    }
}

#[test]
fn a_pool_of_new_hosts_only_gets_even_calls() {
    let mut settings = policy(Policy::RoundRobin);
    settings.warm_up = Some(WarmUp::new(Duration::from_secs(100)));
    let set = built(&settings, &[vec![weighted(&[1, 1])]]);
    assert_near(
        &counts(&set, &Call::default(), 10_000),
        &[("0", 5000), ("1", 5000)],
        200,
    );
}

#[test]
fn calls_spread_over_priorities_by_health() {
    for of in POLICIES {
        let first = locality("a", 1, 100);
        set_health(&first, 0..50, Health::Unhealthy);
        let set = built(&policy(of), &[vec![first], vec![locality("b", 1, 100)]]);
        let mut random = fastrand::Rng::with_seed(2);
        let mut first = 0;
        for _ in 0..10_000 {
            let pick = set.pick(&Call::default(), &mut || random.u64(..)).unwrap();
            assert!(!pick.is_panic);
            first += u32::from(pick.priority == 0);
        }
        assert!(first.abs_diff(7000) < 150, "{of:?} {first}");
    }
}

#[test]
fn with_all_hosts_ill_the_panic_threshold_decides() {
    for of in POLICIES {
        let ill = locality("a", 1, 4);
        set_health(&ill, 0..2, Health::Unhealthy);
        ill.endpoints[2].host.set_ejected(true);
        ill.endpoints[3].host.set_ejected(true);
        let mut settings = policy(of);
        let set = built(&settings, &[vec![ill.clone()]]);
        assert!(set.pick(&Call::default(), &mut || 5).is_none(), "{of:?}");
        settings.panic_threshold = 50;
        let set = built(&settings, &[vec![ill]]);
        assert!(set.pick(&Call::default(), &mut || 5).unwrap().is_panic);
        assert_eq!(counts(&set, &Call::default(), 1000).len(), 4, "{of:?}");
    }
}

#[test]
fn a_lone_host_that_is_ejected_is_gone_at_once() {
    let lone = locality("a", 1, 1);
    let host = Arc::clone(&lone.endpoints[0].host);
    let priorities = [vec![lone]];
    let before = built(&BalanceSettings::default(), &priorities);
    assert!(before.pick(&Call::default(), &mut || 5).is_some());
    host.set_ejected(true);
    let after = built(&BalanceSettings::default(), &priorities);
    assert!(after.pick(&Call::default(), &mut || 5).is_none());
}

#[test]
fn without_hosts_there_is_none() {
    for of in POLICIES {
        for priorities in [vec![], vec![vec![]], vec![vec![locality("a", 1, 0)]]] {
            for panic_threshold in [0, 50] {
                let settings = BalanceSettings {
                    panic_threshold,
                    ..policy(of)
                };
                let set = built(&settings, &priorities);
                assert!(set.pick(&Call::default(), &mut || 5).is_none());
            }
        }
    }
}

#[test]
fn degraded_hosts_help_out() {
    let first = locality("a", 1, 10);
    set_health(&first, 0..5, Health::Degraded);
    let set = built(&BalanceSettings::default(), &[vec![first]]);
    let counts = counts(&set, &Call::default(), 10_000);
    let degraded: u32 = (0..5).map(|i| counts[&format!("a{i}")]).sum();
    assert!(degraded.abs_diff(3000) < 150, "{degraded}");
}

#[test]
fn a_set_is_shared_by_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let set = built(&policy(Policy::RoundRobin), &[vec![weighted(&[1, 2, 5])]]);
    is_shared(&set);
    let all: Vec<HashMap<String, u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| counts(&set, &Call::default(), 800)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let sum = |host: &str| all.iter().filter_map(|it| it.get(host)).sum::<u32>();
    assert_eq!([sum("0"), sum("1"), sum("2")], [400, 800, 2000]);
}
