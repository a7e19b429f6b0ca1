//! Localities, and hashes.

use super::*;

#[test]
fn localities_are_drawn_by_weight_and_by_what_of_them_is_well() {
    let settings = BalanceSettings {
        localities: LocalityBalancing::Weighted,
        ..BalanceSettings::default()
    };
    let of_first = |set: &HostSet| -> u32 {
        let counts = counts(set, &Call::default(), 10_000);
        counts
            .iter()
            .filter(|(host, _)| host.starts_with('a'))
            .map(|(_, count)| count)
            .sum()
    };
    // The number of hosts does not matter.
    let (a, b) = (locality("a", 80, 1), locality("b", 20, 7));
    let set = built(&settings, &[vec![a, b.clone()]]);
    assert!(of_first(&set).abs_diff(8000) < 150);
    // 80 · 0.7 to 20.
    let a = locality("a", 80, 4);
    set_health(&a, 0..2, Health::Unhealthy);
    let set = built(&settings, &[vec![a.clone(), b.clone()]]);
    assert!(of_first(&set).abs_diff(7368) < 150);
    set_health(&a, 2..4, Health::Unhealthy);
    let set = built(&settings, &[vec![a.clone(), b.clone()]]);
    assert_eq!(of_first(&set), 0);
    // With no weight anywhere the hosts are one pool.
    set_health(&a, 0..4, Health::Healthy);
    let weightless = |mut it: LocalityEndpoints| {
        it.weight = 0;
        it
    };
    let set = built(&settings, &[vec![weightless(a), weightless(b)]]);
    assert!(of_first(&set).abs_diff(3636) < 150);
}

#[test]
fn weights_of_localities_are_in_the_tables_of_consistent_hashing() {
    for of in [
        Policy::RingHash {
            minimum_size: 10_000,
        },
        Policy::Maglev { table_size: 10_007 },
    ] {
        let settings = BalanceSettings {
            localities: LocalityBalancing::Weighted,
            ..policy(of)
        };
        let places = vec![
            locality("a", 80, 2),
            locality("b", 20, 8),
            locality("c", 0, 3),
        ];
        let set = built(&settings, &[places]);
        let counts = counts(&set, &Call::default(), 20_000);
        let of = |name: char| -> u32 {
            counts
                .iter()
                .filter(|(host, _)| host.starts_with(name))
                .map(|(_, it)| it)
                .sum()
        };
        assert!(of('a').abs_diff(16_000) < 500, "{counts:?}");
        assert_eq!(of('c'), 0);
    }
}

#[test]
fn zones_keep_their_calls() {
    let zone_aware = |ours: usize, theirs: usize| BalanceSettings {
        localities: LocalityBalancing::ZoneAware(ZoneAware {
            here: Locality::from_text("a"),
            callers: vec![
                (Locality::from_text("a"), ours),
                (Locality::from_text("b"), theirs),
            ],
            minimum_cluster_size: 6,
        }),
        ..BalanceSettings::default()
    };
    let of_first = |set: &HostSet| -> u32 {
        let counts = counts(set, &Call::default(), 10_000);
        counts
            .iter()
            .filter(|(host, _)| host.starts_with('a'))
            .map(|(_, count)| count)
            .sum()
    };
    let hosts = |a: usize, b: usize| [vec![locality("a", 1, a), locality("b", 1, b)]];
    assert_eq!(of_first(&built(&zone_aware(2, 2), &hosts(5, 5))), 10_000);
    assert!(of_first(&built(&zone_aware(4, 1), &hosts(4, 6))).abs_diff(5000) < 150);
    // Too small, and then without hosts here.
    assert!(of_first(&built(&zone_aware(2, 2), &hosts(1, 3))).abs_diff(2500) < 150);
    assert_eq!(of_first(&built(&zone_aware(2, 2), &hosts(0, 6))), 0);
}

#[test]
fn equal_hashes_meet_the_same_host() {
    for of in [
        Policy::RingHash { minimum_size: 1024 },
        Policy::Maglev { table_size: 1009 },
    ] {
        let priorities = [vec![locality("a", 1, 20)], vec![locality("b", 1, 20)]];
        set_health(&priorities[0][0], 0..10, Health::Unhealthy);
        let set = built(&policy(of), &priorities);
        let mut hosts = std::collections::HashSet::new();
        for hash in 0..100_u64 {
            let call = Call {
                hash: Some(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                ..Call::default()
            };
            let found = counts(&set, &call, 20);
            assert_eq!(found.len(), 1, "{of:?}");
            hosts.extend(found.into_keys());
        }
        assert!(hosts.len() > 15, "{hosts:?}");
    }
}

#[test]
fn a_call_without_a_hash_goes_to_any_host() {
    let ring = Policy::RingHash {
        minimum_size: 100_000,
    };
    for of in [ring, Policy::Maglev { table_size: 65_537 }] {
        let set = built(&policy(of), &[vec![locality("a", 1, 4)]]);
        let all = ["a0", "a1", "a2", "a3"].map(|host| (host, 2500));
        assert_near(&counts(&set, &Call::default(), 10_000), &all, 250);
    }
}
