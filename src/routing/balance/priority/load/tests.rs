use proptest::prelude::*;

use super::*;

fn hosts(healthy: usize, total: usize) -> PriorityHosts {
    PriorityHosts {
        healthy,
        degraded: 0,
        total,
    }
}

fn of(hosts: &[PriorityHosts], threshold: u32) -> (Vec<u32>, Vec<bool>) {
    let priorities = Priorities::new(hosts, threshold);
    let loads = priorities.loads();
    let panics = loads.iter().map(|load| load.is_panic).collect();
    (loads.iter().map(|load| load.load).collect(), panics)
}

#[test]
fn the_first_priority_gives_calls_away_below_72_percent() {
    for (healthy, loads) in [
        (100, [100, 0]),
        (72, [100, 0]),
        (71, [99, 1]),
        (50, [70, 30]),
        (25, [35, 65]),
        (0, [0, 100]),
    ] {
        let hosts = [hosts(healthy, 100), hosts(100, 100)];
        for threshold in [0, 50] {
            let expected = (loads.to_vec(), vec![false; 2]);
            assert_eq!(of(&hosts, threshold), expected, "{healthy} {threshold}");
        }
    }
}

#[test]
fn scarce_priorities_share_all_calls_and_may_panic() {
    let quarter = [hosts(25, 100), hosts(25, 100)];
    assert_eq!(of(&quarter, 50), (vec![50, 50], vec![true, true]));
    assert_eq!(of(&quarter, 0), (vec![50, 50], vec![false, false]));
    // 35 + 42 = 77: 45, 54, and one percent that rounding left.
    let one_panics = [hosts(25, 100), hosts(30, 100)];
    assert_eq!(of(&one_panics, 30), (vec![46, 54], vec![true, false]));
}

#[test]
fn with_all_hosts_ill_the_threshold_decides() {
    let ill = [hosts(0, 10), hosts(0, 30)];
    assert_eq!(of(&ill, 0), (vec![100, 0], vec![false, false]));
    assert_eq!(of(&ill, 50), (vec![25, 75], vec![true, true]));
    assert_eq!(of(&ill[..1], 1), (vec![100], vec![true]));
}

#[test]
fn without_hosts_the_first_priority_gets_the_calls() {
    let none = [hosts(0, 0), hosts(0, 0)];
    assert_eq!(of(&none, 0), (vec![100, 0], vec![false, false]));
    assert_eq!(of(&none, 50), (vec![100, 0], vec![true, true]));
    let second = [hosts(0, 0), hosts(3, 3)];
    assert_eq!(of(&second, 50), (vec![0, 100], vec![false, false]));
    assert_eq!(Priorities::new(&[], 50).draw(7), None);
}

#[test]
fn degraded_hosts_take_what_healthy_ones_cannot() {
    let hosts = [
        PriorityHosts {
            healthy: 5,
            degraded: 5,
            total: 10,
        },
        hosts(1, 10),
    ];
    let priorities = Priorities::new(&hosts, 0);
    let loads: Vec<_> = priorities
        .loads()
        .iter()
        .map(|load| (load.load, load.degraded_load))
        .collect();
    assert_eq!(loads, [(70, 16), (14, 0)]);
    assert_eq!(priorities.draw(69), Some((0, Availability::Healthy)));
    assert_eq!(priorities.draw(170), Some((1, Availability::Healthy)));
    assert_eq!(priorities.draw(99), Some((0, Availability::Degraded)));
}

/// Envoy's own example, in a comment of `recalculatePerPriorityState`.
#[test]
fn the_example_of_envoy_comes_out() {
    let health = [(10, 20), (20, 10), (10, 0)].map(|(health, degraded_health)| PriorityLoad {
        health,
        degraded_health,
        ..PriorityLoad::default()
    });
    let mut loads = health;
    let total = available(&loads);
    distribute(&mut loads, total);
    let loads = loads.map(|load| (load.load, load.degraded_load));
    assert_eq!(loads, [(16, 28), (28, 14), (14, 0)]);
}

/// `load_balancer_impl.cc`, line by line.
mod envoy {
    use super::PriorityHosts;

    fn count(hosts: usize) -> u32 {
        hosts.try_into().unwrap()
    }

    fn distribute_load(
        load: &mut [u32],
        availability: &[u32],
        mut total: u32,
        normalized: u32,
    ) -> (Option<usize>, u32) {
        let mut first_available = None;
        for i in 0..availability.len() {
            if first_available.is_none() && availability[i] > 0 {
                first_available = Some(i);
            }
            load[i] = total.min(availability[i] * 100 / normalized);
            total -= load[i];
        }
        (first_available, total)
    }

    pub(super) fn state(sets: &[PriorityHosts], threshold: u32) -> (Vec<u32>, Vec<u32>, Vec<bool>) {
        let n = sets.len();
        let (mut healthy_load, mut degraded_load) = (vec![0; n], vec![0; n]);
        let (mut health, mut degraded) = (vec![0; n], vec![0; n]);
        for (i, set) in sets.iter().enumerate() {
            if set.total > 0 {
                health[i] = 100.min(140 * count(set.healthy) / count(set.total));
                degraded[i] = 100.min(140 * count(set.degraded) / count(set.total));
            }
        }
        let sum: u32 = health.iter().sum::<u32>() + degraded.iter().sum::<u32>();
        let normalized = sum.min(100);
        if normalized != 0 {
            let (first_healthy, rest) =
                distribute_load(&mut healthy_load, &health, 100, normalized);
            let (first_degraded, rest) =
                distribute_load(&mut degraded_load, &degraded, rest, normalized);
            if rest != 0 {
                if let Some(first_healthy) = first_healthy {
                    healthy_load[first_healthy] += rest;
                } else {
                    degraded_load[first_degraded.unwrap()] += rest;
                }
            }
        }
        let mut panic = vec![false; n];
        if threshold == 0 && normalized == 0 {
            healthy_load[0] = 100;
            return (healthy_load, degraded_load, panic);
        }
        let mut total_panic = true;
        for (i, set) in sets.iter().enumerate() {
            panic[i] = if normalized == 100 {
                false
            } else if set.total == 0 {
                0.0 < f64::from(threshold)
            } else {
                let percent = |hosts: usize| 100.0 * hosts as f64 / set.total as f64;
                percent(set.healthy) + percent(set.degraded) < f64::from(threshold)
            };
            total_panic = total_panic && panic[i];
        }
        if total_panic {
            let hosts: u32 = sets.iter().map(|set| count(set.total)).sum();
            if hosts == 0 {
                healthy_load[0] = 100;
                return (healthy_load, degraded_load, panic);
            }
            let mut total_load = 100;
            let mut first = None;
            for (i, set) in sets.iter().enumerate() {
                if first.is_none() && set.total != 0 {
                    first = Some(i);
                }
                healthy_load[i] = 100 * count(set.total) / hosts;
                degraded_load[i] = 0;
                total_load -= healthy_load[i];
            }
            healthy_load[first.unwrap()] += total_load;
        }
        (healthy_load, degraded_load, panic)
    }
}

fn any_hosts() -> impl Strategy<Value = PriorityHosts> {
    (0_usize..40, 0_usize..8, 0_usize..40).prop_map(|(healthy, degraded, ill)| PriorityHosts {
        healthy,
        degraded,
        total: healthy + degraded + ill,
    })
}

proptest! {
    #[test]
    fn shares_are_those_of_envoy(
        // Of halves and quarters a double's sum is exact; Envoy's is not of all thirds.
        sets in prop::collection::vec(any_hosts(), 1..5), threshold in 0_u32..=100,
    ) {
        let is_exact = sets.iter().all(|set| {
            let available = set.healthy + set.degraded;
            set.degraded == 0 || 100 * available != threshold as usize * set.total
        });
        prop_assume!(is_exact);
        let priorities = Priorities::new(&sets, threshold);
        let loads = priorities.loads();
        let (healthy, degraded, panic) = envoy::state(&sets, threshold);
        prop_assert_eq!(loads.iter().map(|load| load.load).collect::<Vec<_>>(), healthy);
        prop_assert_eq!(loads.iter().map(|load| load.degraded_load).collect::<Vec<_>>(), degraded);
        prop_assert_eq!(loads.iter().map(|load| load.is_panic).collect::<Vec<_>>(), panic);
    }

    #[test]
    fn shares_add_up_and_every_draw_hits_one(
        sets in prop::collection::vec(any_hosts(), 1..6), threshold in 0_u32..=100,
    ) {
        let priorities = Priorities::new(&sets, threshold);
        let mut counts = vec![(0, 0); sets.len()];
        for random in 0..100 {
            match priorities.draw(random) {
                Some((priority, Availability::Healthy)) => counts[priority].0 += 1,
                Some((priority, Availability::Degraded)) => counts[priority].1 += 1,
                None => prop_assert!(false, "no priority for {}", random),
            }
        }
        let loads: Vec<_> =
            priorities.loads().iter().map(|load| (load.load, load.degraded_load)).collect();
        prop_assert_eq!(counts, loads);
    }
}
