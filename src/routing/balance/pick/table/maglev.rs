//! Maglev hashing.

use crate::routing::balance::hash::xxh64;

use super::Placed;

/// A table of hosts; a call goes to the host at its hash, modulo the size of the table.
///
/// As Envoy's `MaglevTable`, after the paper of [Eisenbud and others]: hosts in the order of their
/// addresses take places in turns, each by its own permutation of the table, which its address
/// gives; the heavier a host, the more turns it has.
///
/// [Eisenbud and others]: https://research.google.com/pubs/pub44824.html
#[derive(Debug)]
pub(in crate::routing::balance::pick) struct Maglev {
    places: Box<[u32]>,
}

struct Entry {
    host: u32,
    weight: f64,
    place: u64,
    skip: u64,
    /// The sum of weights at which the next turn comes.
    due: f64,
}

impl Maglev {
    /// A table of this size, a prime number.
    pub(in crate::routing::balance::pick) fn new(hosts: &[Placed<'_>], size: u32) -> Self {
        let mut sorted: Vec<_> = (0_u32..)
            .zip(hosts)
            .filter(|(_, it)| it.weight > 0.0)
            .collect();
        if sorted.is_empty() || size < 2 {
            let places = sorted.first().map(|(host, _)| *host).into_iter();
            return Self {
                places: places.collect(),
            };
        }
        sorted.sort_by(|(_, a), (_, b)| a.key.cmp(b.key));
        let heaviest = hosts.iter().map(|host| host.weight).fold(0.0, f64::max);
        let modulus = u64::from(size);
        let mut entries: Vec<_> = sorted
            .iter()
            .map(|(host, placed)| Entry {
                host: *host,
                weight: placed.weight,
                place: xxh64(placed.key.as_bytes(), 0) % modulus,
                skip: xxh64(placed.key.as_bytes(), 1) % (modulus - 1) + 1,
                due: 0.0,
            })
            .collect();
        let mut places = vec![FREE; size as usize];
        let mut free = places.len();
        let mut iteration = 1.0;
        while free > 0 {
            for entry in &mut entries {
                // A host of the greatest weight has a turn in each iteration, one of a third of it
                // in every third.
                if free == 0 || iteration * entry.weight < entry.due {
                    continue;
                }
                entry.due += heaviest;
                take(&mut places, entry, modulus);
                free -= 1;
            }
            iteration += 1.0;
        }
        Self {
            places: places.into_boxed_slice(),
        }
    }

    /// The host of a hash; other attempts have other places.
    #[inline]
    pub(in crate::routing::balance::pick) fn host(&self, hash: u64, attempt: u32) -> Option<usize> {
        // Envoy's `hash ^= ~0ULL - attempt + 1`, which changes most bits; zero changes none.
        let hash = hash ^ u64::from(attempt).wrapping_neg();
        let place = hash.checked_rem(self.places.len() as u64)?;
        let host = self.places.get(usize::try_from(place).ok()?)?;
        Some(*host as usize)
    }
}

/// Gives the entry the next free place of its permutation.
fn take(places: &mut [u32], entry: &mut Entry, modulus: u64) {
    for _ in 0..modulus {
        let place = usize::try_from(entry.place).ok();
        entry.place = (entry.place + entry.skip) % modulus;
        if let Some(place) = place.and_then(|place| places.get_mut(place))
            && *place == FREE
        {
            *place = entry.host;
            return;
        }
    }
    // INVARIANT: of a prime modulus every place is in the permutation. Should it be no prime, the
    // host takes the first one that is free.
    if let Some(place) = places.iter_mut().find(|place| **place == FREE) {
        *place = entry.host;
    }
}

/// A place without a host.
const FREE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: std::ops::Range<u32>) -> Vec<String> {
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    fn maglev(addresses: &[String], weights: &[f64], size: u32) -> Maglev {
        let total: f64 = weights.iter().sum();
        let placed: Vec<_> = addresses
            .iter()
            .zip(weights)
            .map(|(key, weight)| Placed {
                key,
                weight: weight / total,
            })
            .collect();
        Maglev::new(&placed, size)
    }

    /// `MaglevLoadBalancerTest.Basic`.
    #[test]
    fn the_table_is_that_of_envoy() {
        let table = maglev(&addresses(90..96), &[1.0; 6], 7);
        assert_eq!(*table.places, [2, 4, 0, 1, 5, 0, 3]);
        assert_eq!(table.host(15, 0), Some(4));
        // `hash ^ -1` is its complement.
        assert_eq!(table.host(15, 1), table.host(!15, 0));
    }

    #[test]
    fn places_are_by_weight() {
        let table = maglev(&addresses(90..93), &[1.0, 2.0, 5.0], 65_537);
        let count = |host: u32| table.places.iter().filter(|it| **it == host).count();
        for (host, share) in [(0, 8192), (1, 16_384), (2, 40_960)] {
            assert!(count(host).abs_diff(share) <= 2, "{host}: {}", count(host));
        }
        let even = maglev(&addresses(0..1000), &[1.0; 1000], 65_537);
        let mut counts = [0; 1000];
        even.places
            .iter()
            .for_each(|host| counts[*host as usize] += 1);
        assert!(counts.iter().all(|count| (65..=66).contains(count)));
    }

    #[test]
    fn a_host_that_goes_or_comes_moves_about_its_own_share() {
        let all = addresses(0..50);
        let before = maglev(&all, &[1.0; 50], 65_537);
        let after = maglev(&all[1..], &[1.0; 49], 65_537);
        let (mut lost, mut moved) = (0, 0);
        for (before, after) in before.places.iter().zip(&after.places) {
            lost += u32::from(*before == 0);
            moved += u32::from(*before != 0 && *before != after + 1);
        }
        assert!(lost.abs_diff(65_537 / 50) <= 1, "{lost}");
        // Maglev moves a few others: the paper measures it at about as many again.
        assert!(moved <= 65_537 / 50, "{moved}");
    }

    #[test]
    fn without_hosts_there_is_none_and_odd_sizes_do_no_harm() {
        assert_eq!(maglev(&[], &[], 7).host(1, 0), None);
        for size in [0, 1, 2, 6] {
            let table = maglev(&addresses(0..3), &[1.0; 3], size);
            assert!(table.host(5, 0).is_some(), "{size}");
        }
    }
}
