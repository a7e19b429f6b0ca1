//! Ketama hashing: Envoy's ring hash.

use crate::routing::balance::hash::xxh64;

use super::Placed;

/// A ring of hashes, each of which belongs to a host.
///
/// As Envoy's `RingHashLoadBalancer::Ring`: the host with the least weight gets a whole number of
/// entries, so the ring may be longer than its minimum; an entry is the hash of `address_i`. A call
/// goes to the first entry at or after its hash.
#[derive(Debug)]
pub(in crate::routing::balance::pick) struct Ring {
    entries: Box<[Entry]>,
    /// The first entry of each part of all hashes; there are about as many parts as entries, so that
    /// no search runs over the whole ring, which may be larger than a cache.
    starts: Box<[u32]>,
    /// How far a hash is shifted to give its part.
    shift: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u64,
    host: u32,
}

impl Ring {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the size of the ring is a whole number of at most LARGEST"
    )]
    pub(in crate::routing::balance::pick) fn new(
        hosts: &[Placed<'_>],
        minimum: u64,
        maximum: u64,
    ) -> Self {
        let least = hosts.iter().map(|host| host.weight).fold(1.0, f64::min);
        let maximum = maximum.min(LARGEST) as f64;
        let scale = ((least * minimum.min(LARGEST) as f64).ceil() / least).min(maximum);
        let mut entries = Vec::with_capacity(scale.ceil() as usize);
        let (mut current, mut target) = (0.0, 0.0);
        let mut key = Vec::new();
        for (index, host) in (0_u32..).zip(hosts) {
            target += scale * host.weight;
            let mut entry = 0_u64;
            while current < target {
                key.clear();
                key.extend_from_slice(host.key.as_bytes());
                key.push(b'_');
                key.extend_from_slice(entry.to_string().as_bytes());
                entries.push(Entry {
                    hash: xxh64(&key, 0),
                    host: index,
                });
                entry += 1;
                current += 1.0;
            }
        }
        entries.sort_unstable();
        let parts = entries.len().next_power_of_two().max(2);
        let shift = u64::BITS - parts.ilog2();
        let mut starts = Vec::with_capacity(parts + 1);
        let (mut start, mut end) = (0_u32, entries.iter().peekable());
        for part in 0..parts as u64 {
            while end.next_if(|entry| entry.hash >> shift < part).is_some() {
                start += 1;
            }
            starts.push(start);
        }
        starts.push(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        Self {
            entries: entries.into_boxed_slice(),
            starts: starts.into_boxed_slice(),
            shift,
        }
    }

    /// The host of a hash; on the n-th attempt to find another one, that of the n-th entry after.
    #[inline]
    pub(in crate::routing::balance::pick) fn host(&self, hash: u64, attempt: u32) -> Option<usize> {
        let part = usize::try_from(hash >> self.shift).ok()?;
        let start = *self.starts.get(part)? as usize;
        let end = *self.starts.get(part + 1)? as usize;
        let entries = self.entries.get(start..end)?;
        let entry = start + entries.partition_point(|entry| entry.hash < hash);
        let entry = (entry + attempt as usize).checked_rem(self.entries.len())?;
        self.entries.get(entry).map(|entry| entry.host as usize)
    }
}

/// Envoy's most entries.
const LARGEST: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: std::ops::Range<u32>) -> Vec<String> {
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    fn ring(addresses: &[String], minimum: u64) -> Ring {
        let weight = 1.0 / addresses.len() as f64;
        let placed: Vec<_> = addresses.iter().map(|key| Placed { key, weight }).collect();
        Ring::new(&placed, minimum, LARGEST)
    }

    /// `RingHashLoadBalancerTest.Basic`.
    #[test]
    fn the_ring_is_that_of_envoy() {
        let ring = ring(&addresses(90..96), 12);
        let entries: Vec<_> = ring.entries.iter().map(|it| (it.hash, it.host)).collect();
        assert_eq!(
            entries,
            [
                (833_437_586_790_550_860, 4),
                (928_266_305_478_181_108, 2),
                (1_033_482_794_131_418_490, 0),
                (3_551_244_743_356_806_947, 5),
                (3_851_675_632_748_031_481, 3),
                (5_583_722_120_771_150_861, 1),
                (6_311_230_543_546_372_928, 1),
                (7_700_377_290_971_790_572, 3),
                (13_144_177_310_400_110_813, 5),
                (13_444_792_449_719_432_967, 2),
                (15_516_499_411_664_133_160, 4),
                (16_117_243_373_044_804_889, 0),
            ]
        );
        for (hash, host) in [
            (0, 4),
            (u64::MAX, 4),
            (3_551_244_743_356_806_947, 5),
            (3_551_244_743_356_806_948, 3),
        ] {
            assert_eq!(ring.host(hash, 0), Some(host), "{hash}");
        }
        // Other attempts walk along the ring, and around.
        let around: Vec<_> = (0..4)
            .filter_map(|it| ring.host(16_000_000_000_000_000_000, it))
            .collect();
        assert_eq!(around, [0, 4, 2, 0]);
    }

    #[test]
    fn entries_are_by_weight_and_the_ring_has_its_bounds() {
        let addresses = addresses(90..93);
        let weights = [0.25, 0.25, 0.5];
        let placed: Vec<_> = addresses
            .iter()
            .zip(weights)
            .map(|(key, weight)| Placed { key, weight })
            .collect();
        let ring = Ring::new(&placed, 1024, LARGEST);
        let count = |host: u32| ring.entries.iter().filter(|it| it.host == host).count();
        assert_eq!([count(0), count(1), count(2)], [256, 256, 512]);
        assert_eq!(Ring::new(&placed, 1024, 100).entries.len(), 100);
        let empty = Ring::new(&[], 1024, LARGEST);
        assert_eq!(empty.host(7, 0), None);
    }

    #[test]
    fn a_host_that_goes_moves_no_more_than_its_own_calls() {
        let all = addresses(0..50);
        let (before, after) = (ring(&all, 1024 * 16), ring(&all[1..], 1024 * 16));
        let (mut moved, mut of_the_host) = (0, 0);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let hash = random.u64(..);
            let (before, after) = (
                before.host(hash, 0).unwrap(),
                after.host(hash, 0).unwrap() + 1,
            );
            of_the_host += u32::from(before == 0);
            moved += u32::from(before != 0 && before != after);
        }
        // The ring has a few entries more or fewer for all hosts.
        assert!((150..=260).contains(&of_the_host), "{of_the_host}");
        assert!(moved <= 200, "{moved}");
    }

    #[test]
    fn a_part_of_the_ring_is_searched_as_the_whole_would_be() {
        let mut random = fastrand::Rng::with_seed(4);
        for hosts in [1, 2, 3, 7, 100] {
            let ring = ring(&addresses(0..hosts), u64::from(hosts) * 3);
            let of_entries = ring.entries.iter().map(|entry| entry.hash);
            let near = of_entries.flat_map(|hash| [hash - 1, hash, hash + 1]);
            let others = (0..2000).map(|_| random.u64(..));
            for hash in near.chain(others).chain([0, u64::MAX]) {
                let first = ring.entries.iter().find(|entry| entry.hash >= hash);
                let expected = first.unwrap_or(&ring.entries[0]).host as usize;
                assert_eq!(ring.host(hash, 0), Some(expected), "{hosts} {hash}");
            }
        }
    }
}
