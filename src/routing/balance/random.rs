//! What is made of random numbers, which are arguments everywhere.

/// A number below `bound`, and 0 if that is 0: uniform, up to 2⁻⁶⁴, for a uniform `random`.
#[inline]
pub(crate) fn below(random: u64, bound: usize) -> usize {
    let scaled = (u128::from(random) * bound as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

/// Two different numbers below `bound`, each pair as likely as any other; `None` below two.
#[inline]
pub(crate) fn two_below(random: u64, bound: usize) -> Option<(usize, usize)> {
    let bound = u32::try_from(bound).ok().filter(|bound| *bound > 1)?;
    // One draw serves for both: there are never as many hosts as either half has values.
    let half = |half: u64, bound: u32| (half * u64::from(bound)) >> 32;
    let first = half(random >> 32, bound);
    let second = half(random & u64::from(u32::MAX), bound - 1);
    let second = second + u64::from(second >= first);
    Some((usize::try_from(first).ok()?, usize::try_from(second).ok()?))
}

/// Whether an event of this probability happens.
#[inline]
pub(crate) fn happens(random: u64, probability: f64) -> bool {
    unit(random) < probability
}

/// A number in `[0, 1)`.
#[inline]
pub(crate) fn unit(random: u64) -> f64 {
    // The 53 bits that a double holds exactly.
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_it() {
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX / 2, 10), 4);
        assert!(unit(u64::MAX) < 1.0);
        assert!(happens(0, f64::MIN_POSITIVE) && !happens(u64::MAX, 0.99));
    }

    #[test]
    fn two_numbers_are_different_and_all_pairs_come_equally_often() {
        assert_eq!(two_below(7, 0), None);
        assert_eq!(two_below(7, 1), None);
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [[0_u32; 4]; 4];
        for _ in 0..120_000 {
            let (first, second) = two_below(random.u64(..), 4).unwrap();
            counts[first][second] += 1;
        }
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                let is_expected = if first == second {
                    *count == 0
                } else {
                    count.abs_diff(10_000) < 400
                };
                assert!(is_expected, "{first} {second}: {count}");
            }
        }
    }
}
