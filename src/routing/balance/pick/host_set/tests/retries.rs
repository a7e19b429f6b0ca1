//! Retries, and what holds for all picks.

use proptest::prelude::*;

use super::super::super::attempts::Attempts;
use super::*;

#[test]
fn retries_go_to_other_hosts() {
    for of in POLICIES {
        let set = built(&policy(of), &[vec![locality("a", 1, 12)]]);
        let mut random = fastrand::Rng::with_seed(21);
        let mut repeated = 0;
        for call in 0..300 {
            let mut attempts = Attempts::new(true, false);
            for _ in 0..3 {
                let call = Call {
                    hash: Some(xxh(call)),
                    attempts: Some(&attempts),
                    ..Call::default()
                };
                let pick = set.pick(&call, &mut || random.u64(..)).unwrap();
                repeated += u32::from(attempts.avoids(pick.host));
                attempts.record(pick.host, pick.priority, set.priorities());
            }
        }
        // Twelve hosts, of which two at most are passed over: one in 6⁶ picks finds no other.
        assert!(repeated < 5, "{of:?} {repeated}");
    }
}

fn xxh(number: u64) -> u64 {
    crate::routing::balance::HashKey::default()
        .value(&number.to_le_bytes())
        .finish()
        .unwrap()
}

#[test]
fn a_lone_host_is_retried() {
    let set = built(&BalanceSettings::default(), &[vec![locality("a", 1, 1)]]);
    let mut attempts = Attempts::new(true, true);
    for _ in 0..5 {
        let call = Call {
            attempts: Some(&attempts),
            ..Call::default()
        };
        let pick = set.pick(&call, &mut || 3).unwrap();
        attempts.record(pick.host, pick.priority, set.priorities());
    }
}

#[test]
fn retries_leave_the_priority_after_two_tries() {
    let set = built(
        &BalanceSettings::default(),
        &[vec![locality("a", 1, 3)], vec![locality("b", 1, 3)]],
    );
    let mut attempts = Attempts::new(true, true);
    let mut random = fastrand::Rng::with_seed(4);
    let mut priorities = Vec::new();
    for _ in 0..6 {
        let call = Call {
            attempts: Some(&attempts),
            ..Call::default()
        };
        let pick = set.pick(&call, &mut || random.u64(..)).unwrap();
        priorities.push(pick.priority);
        attempts.record(pick.host, pick.priority, set.priorities());
    }
    assert_eq!(priorities, [0, 0, 1, 1, 0, 0]);
}

fn any_locality(name: usize) -> impl Strategy<Value = LocalityEndpoints> {
    let parts = (0_u32..4, 0_u8..4);
    (0_u32..3, prop::collection::vec(parts, 0..6)).prop_map(move |(weight, endpoints)| {
        let endpoints = endpoints
            .into_iter()
            .enumerate()
            .map(|(i, (weight, health))| {
                let endpoint = endpoint(&format!("{name}-{i}"), weight);
                match health {
                    0 => endpoint.host.set_discovered(Health::Unhealthy),
                    1 => endpoint.host.set_discovered(Health::Degraded),
                    2 => endpoint.host.set_ejected(true),
                    _ => {}
                }
                endpoint
            });
        LocalityEndpoints {
            locality: Locality::from_text(&name.to_string()),
            weight,
            endpoints: endpoints.collect(),
        }
    })
}

proptest! {
    #[test]
    fn a_host_that_is_not_available_is_picked_in_panic_only(
        priorities in prop::collection::vec(
            (any_locality(0), any_locality(1), any_locality(2)).prop_map(|(a, b, c)| vec![a, b, c]),
            0..3,
        ),
        of in prop::sample::select(POLICIES.to_vec()),
        panic_threshold in prop::sample::select(vec![0_u32, 10, 50, 100]),
        locality_mode in 0_u8..3,
        seed in any::<u64>(),
    ) {
        let localities = match locality_mode {
            0 => LocalityBalancing::Pooled,
            1 => LocalityBalancing::Weighted,
            _ => LocalityBalancing::ZoneAware(ZoneAware {
                here: Locality::from_text("0"),
                callers: vec![(Locality::from_text("0"), 2), (Locality::from_text("1"), 1)],
                minimum_cluster_size: 2,
            }),
        };
        let is_weighted = localities == LocalityBalancing::Weighted;
        let settings = BalanceSettings {
            policy: of,
            panic_threshold,
            warm_up: Some(WarmUp::new(Duration::from_secs(10))),
            localities,
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let set = HostSet::new(&settings, &priorities, &mut || random.u64(..));
        let of = |health: Health| {
            let hosts = priorities.iter().flatten().flat_map(|it| &it.endpoints);
            hosts.filter(|it| it.host.health() == health).count()
        };
        let is_any_available = of(Health::Healthy) + of(Health::Degraded) > 0;
        for _ in 0..40 {
            let mut attempts = Attempts::new(random.bool(), random.bool());
            for _ in 0..3 {
                let call = Call {
                    hash: random.bool().then(|| random.u64(..)),
                    attempts: Some(&attempts),
                    ..Call::default()
                };
                let pick = set.pick(&call, &mut || random.u64(..));
                // A table may have no place for hosts of localities without weight.
                let may_miss = is_weighted && is_hashing(settings.policy);
                let Some(pick) = pick else {
                    prop_assert!(!is_any_available || may_miss);
                    break;
                };
                let is_available = pick.host.health() != Health::Unhealthy;
                prop_assert!(is_available || pick.is_panic);
                prop_assert!(pick.priority < priorities.len());
                attempts.record(pick.host, pick.priority, set.priorities());
            }
        }
    }
}
