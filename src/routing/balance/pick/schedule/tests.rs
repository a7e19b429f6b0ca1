use super::*;

fn counts(schedule: &Schedule, hosts: usize, picks: usize) -> Vec<u32> {
    let mut counts = vec![0; hosts];
    for _ in 0..picks {
        counts[schedule.next()] += 1;
    }
    counts
}

#[test]
fn turns_are_by_weight_and_spread_out() {
    let schedule = Schedule::new(&[1, 3], 0);
    let turns: Vec<_> = (0..8).map(|_| schedule.next()).collect();
    assert_eq!(turns, [1, 1, 0, 1, 1, 1, 0, 1]);
    assert_eq!(counts(&schedule, 2, 200), [50, 150]);
}

#[test]
fn equal_weights_take_turns_from_a_start() {
    for weights in [[1, 1, 1], [7, 7, 7]] {
        let schedule = Schedule::new(&weights, u64::MAX / 2);
        assert!(schedule.is_even());
        let turns: Vec<_> = (0..4).map(|_| schedule.next()).collect();
        assert_eq!(turns, [1, 2, 0, 1]);
    }
}

#[test]
fn a_round_is_that_of_a_queue_of_deadlines() {
    // Envoy's queue, kept as it is.
    let weights = [5, 2, 8, 1, 2];
    let mut queue: Vec<(f64, usize, usize)> = Vec::new();
    for (host, weight) in weights.iter().enumerate() {
        queue.push((1.0 / f64::from(*weight), host, host));
    }
    let schedule = Schedule::new(&weights, 0);
    // One round: after it the order of equal deadlines may be another.
    for pick in 0..18 {
        // Sums of floats that should be equal are not.
        let is_before = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
            a.0 < b.0 - 1e-9 || (a.0 < b.0 + 1e-9 && a.1 < b.1)
        };
        let mut first = 0;
        for index in 1..queue.len() {
            if is_before(&queue[index], &queue[first]) {
                first = index;
            }
        }
        let (deadline, _, host) = queue.remove(first);
        let next = deadline + 1.0 / f64::from(weights[host]);
        queue.push((next, weights.len() + pick, host));
        assert_eq!(schedule.next(), host, "{pick}");
    }
}

#[test]
fn no_host_waits_longer_than_its_share_and_one_turn() {
    let weights = [1, 10, 100];
    let schedule = Schedule::new(&weights, 0);
    let mut counts = [0_i64; 3];
    for picks in 1..=1110 {
        counts[schedule.next()] += 1;
        for (count, weight) in counts.iter().zip(weights) {
            let share = picks * i64::from(weight) / 111;
            assert!((count - share).abs() <= 2, "{picks}: {counts:?}");
        }
    }
}

#[test]
fn weights_that_need_a_long_round_are_rounded_and_none_is_lost() {
    let weights = [u32::MAX, 1, 1_000_000_007];
    let schedule = Schedule::new(&weights, 0);
    let round = schedule.len();
    assert!(round <= 65_537, "{round}");
    let counts = counts(&schedule, 3, round);
    let total = f64::from(u32::MAX) + 1.0 + 1_000_000_007.0;
    for (count, weight) in counts.iter().zip(weights) {
        let share = f64::from(weight) / total * 65_536.0;
        assert!((f64::from(*count) - share).abs() <= 1.0, "{counts:?}");
    }
    assert_eq!(counts[1], 1);
}

#[test]
fn draws_are_by_weight() {
    let schedule = Schedule::new(&[1, 3], 0);
    let draws = (0..4).map(|quarter| schedule.draw(u64::MAX / 4 * quarter + 1));
    assert_eq!(draws.filter(|host| *host == 1).count(), 3);
    assert_eq!(Schedule::new(&[], 7).draw(7), 0);
    assert_eq!(Schedule::new(&[], 7).next(), 0);
}

#[test]
fn threads_share_the_turns() {
    let schedule = Schedule::new(&[1, 2, 5], 7);
    let all: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| counts(&schedule, 3, 2000)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let sum = |host: usize| all.iter().map(|counts| counts[host]).sum::<u32>();
    assert_eq!([sum(0), sum(1), sum(2)], [1000, 2000, 5000]);
}
