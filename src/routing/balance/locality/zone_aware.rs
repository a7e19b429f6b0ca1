//! Zone-aware routing: as many calls as fit stay in our locality.

use crate::routing::balance::random::below;

use super::place::Locality;

/// `zoneAwareLbSetting`: calls stay in our locality as far as its share of hosts allows.
///
/// With `u` our locality's share of the healthy hosts and `c` its share of the callers: all calls
/// stay if `u ≥ c`, and else a part of `u / c`; the others go to localities with more hosts than
/// callers, by `u − c`. So the hosts of all localities get an equal load, if all callers do this.
///
/// Only the first priority has it, and only outside of panic. As Envoy's `ZoneAwareLoadBalancerBase`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneAware {
    /// Where we are.
    pub here: Locality,
    /// How many callers there are in each locality, us included: our own service's endpoints.
    pub callers: Vec<(Locality, usize)>,
    /// With fewer healthy hosts all localities are one pool. Istio's default is 6.
    pub minimum_cluster_size: usize,
}

/// Which locality calls go to, worked out when hosts or callers change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::routing::balance) enum ZoneRouting {
    /// All localities are one pool.
    Off,
    /// All calls stay in this one.
    Direct(usize),
    /// A part of the calls stays.
    Residual {
        local: Option<usize>,
        /// The part that stays, of 10,000.
        stays: usize,
        /// For each locality, what it can take beyond its own callers, added to that of all before.
        residual: Box<[usize]>,
    },
}

impl ZoneAware {
    /// The routing over these localities with their healthy hosts.
    pub(in crate::routing::balance) fn routing(
        &self,
        localities: &[(&Locality, usize)],
    ) -> ZoneRouting {
        let hosts: usize = localities.iter().map(|(_, healthy)| healthy).sum();
        let callers: usize = self.callers.iter().map(|(_, callers)| callers).sum();
        let callers_in = |locality: &Locality| -> usize {
            let same = self.callers.iter().filter(|(other, _)| other == locality);
            same.map(|(_, callers)| callers).sum()
        };
        let is_off = localities.len() < 2
            || self.callers.len() < 2
            || callers_in(&self.here) == 0
            || hosts < self.minimum_cluster_size;
        if is_off {
            return ZoneRouting::Off;
        }
        let share = |part: usize, all: usize| part.saturating_mul(WHOLE).checked_div(all);
        let shares: Vec<_> = localities
            .iter()
            .map(|(locality, healthy)| match healthy {
                0 => (0, 0),
                _ => (
                    share(*healthy, hosts).unwrap_or(0),
                    share(callers_in(locality), callers).unwrap_or(0),
                ),
            })
            .collect();
        let local = localities
            .iter()
            .position(|(locality, _)| **locality == self.here);
        let ours = local.and_then(|local| Some((local, *shares.get(local)?)));
        let stays = match ours {
            Some((local, (upstream, calling))) if upstream > 0 && upstream >= calling => {
                return ZoneRouting::Direct(local);
            }
            Some((_, (upstream, calling))) => share(upstream, calling).unwrap_or(0),
            None => 0,
        };
        let mut sum = 0;
        let residual = shares
            .iter()
            .enumerate()
            .map(|(index, (upstream, calling))| {
                if Some(index) != local {
                    sum += upstream.saturating_sub(*calling);
                }
                sum
            });
        ZoneRouting::Residual {
            local,
            stays,
            residual: residual.collect(),
        }
    }
}

impl ZoneRouting {
    /// The locality of a call; `None`: any.
    pub(in crate::routing::balance) fn draw(
        &self,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        match self {
            Self::Off => None,
            Self::Direct(local) => Some(*local),
            Self::Residual {
                local,
                stays,
                residual,
            } => {
                if *stays > 0 && below(random(), WHOLE) < *stays {
                    return *local;
                }
                let capacity = *residual.last()?;
                if capacity == 0 {
                    // What rounding makes of it: Envoy takes any locality.
                    return None;
                }
                let point = below(random(), capacity);
                Some(residual.partition_point(|end| *end <= point))
            }
        }
    }
}

/// Shares are of ten thousand.
const WHOLE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(hosts: &[(&str, usize)], callers: &[(&str, usize)]) -> ZoneRouting {
        let read = |(text, count): &(&str, usize)| (Locality::from_text(text), *count);
        let zone_aware = ZoneAware {
            here: Locality::from_text("us/a"),
            callers: callers.iter().map(read).collect(),
            minimum_cluster_size: 6,
        };
        let hosts: Vec<_> = hosts.iter().map(read).collect();
        let hosts: Vec<_> = hosts.iter().map(|(place, count)| (place, *count)).collect();
        zone_aware.routing(&hosts)
    }

    #[test]
    fn calls_stay_where_there_are_hosts_enough() {
        let even = routing(&[("us/a", 3), ("us/b", 3)], &[("us/a", 2), ("us/b", 2)]);
        assert_eq!(even, ZoneRouting::Direct(0));
        let more = routing(&[("us/b", 3), ("us/a", 4)], &[("us/a", 2), ("us/b", 2)]);
        assert_eq!(more, ZoneRouting::Direct(1));
        assert_eq!(more.draw(&mut || 7), Some(1));
    }

    /// Envoy's example: callers 40, 40 and 20 %, hosts 25, 50 and 25 %.
    #[test]
    fn what_does_not_fit_goes_where_there_is_room() {
        let routing = routing(
            &[("us/a", 25), ("us/b", 50), ("us/c", 25)],
            &[("us/a", 40), ("us/b", 40), ("us/c", 20)],
        );
        let ZoneRouting::Residual {
            local,
            stays,
            residual,
        } = &routing
        else {
            panic!("{routing:?}");
        };
        assert_eq!(
            (*local, *stays, &**residual),
            (Some(0), 6250, &[0, 1000, 1500][..])
        );
        let mut random = fastrand::Rng::with_seed(5);
        let mut counts = [0_u32; 3];
        for _ in 0..100_000 {
            counts[routing.draw(&mut || random.u64(..)).unwrap()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([62_500, 25_000, 12_500]) {
            assert!(count.abs_diff(expected) < 700, "{counts:?}");
        }
    }

    #[test]
    fn without_hosts_here_all_calls_leave() {
        let hosts = [("us/a", 0), ("us/b", 6)];
        let routing = routing(&hosts, &[("us/a", 1), ("us/b", 1)]);
        assert_eq!(routing.draw(&mut || 0), Some(1));
        let absent = self::routing(&[("us/c", 3), ("us/b", 6)], &[("us/a", 1), ("us/b", 1)]);
        // 3333 and 6666 − 5000.
        let ZoneRouting::Residual {
            local, residual, ..
        } = absent
        else {
            panic!();
        };
        assert_eq!((local, &*residual), (None, &[3333, 4999][..]));
    }

    #[test]
    fn small_or_unknown_surroundings_switch_it_off() {
        let (two, callers) = ([("us/a", 3), ("us/b", 3)], [("us/a", 1), ("us/b", 1)]);
        assert_ne!(routing(&two, &callers), ZoneRouting::Off);
        assert_eq!(routing(&[("us/a", 6)], &callers), ZoneRouting::Off);
        assert_eq!(
            routing(&[("us/a", 2), ("us/b", 3)], &callers),
            ZoneRouting::Off
        );
        assert_eq!(routing(&two, &[("us/a", 1)]), ZoneRouting::Off);
        assert_eq!(routing(&two, &[("us/c", 1), ("us/b", 1)]), ZoneRouting::Off);
        assert_eq!(ZoneRouting::Off.draw(&mut || 7), None);
    }
}
