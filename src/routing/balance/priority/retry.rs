//! Retries go to other priorities: Envoy's `previous_priorities`, Istio's `retryRemoteLocalities`.

use super::load::{Availability, Priorities, percent};

/// The priorities that the tries of one call went to.
///
/// After every second try all of them leave the draw, and the others share all calls by their
/// availability. When no available priority is left, all come back and counting begins anew.
/// Istio's `update_frequency` is always 2. Priorities after the 128th, which Envoy does not allow,
/// always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptedPriorities {
    tries: u32,
    /// A bit for each priority that a try went to since counting began.
    seen: u128,
    /// A bit for each that has left the draw.
    excluded: u128,
}

impl AttemptedPriorities {
    /// A try went to this priority.
    pub fn record(&mut self, priority: usize, priorities: &Priorities) {
        self.seen |= bit(priority);
        self.tries += 1;
        if !self.tries.is_multiple_of(UPDATE_FREQUENCY) {
            return;
        }
        self.excluded |= self.seen;
        if self.available(priorities) == 0 {
            *self = Self::default();
        }
    }

    /// The priority of the next try, as [`Priorities::draw`].
    #[must_use]
    pub fn draw(&self, priorities: &Priorities, random: u64) -> Option<(usize, Availability)> {
        let total = self.available(priorities);
        if self.excluded == 0 || total == 0 {
            return priorities.draw(random);
        }
        // Envoy hands out shares in rounds until nothing is left, so that rounding is lost on no
        // priority. The shares need not be kept: the call's point falls into one on the way.
        let mut point = percent(random);
        loop {
            for availability in [Availability::Healthy, Availability::Degraded] {
                for (priority, load) in priorities.loads().iter().enumerate() {
                    let health = match availability {
                        Availability::Healthy => load.health,
                        Availability::Degraded => load.degraded_health,
                    };
                    if self.excluded & bit(priority) != 0 {
                        continue;
                    }
                    let share = health * 100 / total;
                    if point < share {
                        return Some((priority, availability));
                    }
                    point -= share;
                }
            }
        }
    }

    /// The availability of the priorities in the draw, at most 100.
    fn available(&self, priorities: &Priorities) -> u32 {
        let loads = priorities.loads().iter().enumerate();
        let included = loads.filter(|(priority, _)| self.excluded & bit(*priority) == 0);
        let each = included.map(|(_, load)| load.health + load.degraded_health);
        each.sum::<u32>().min(100)
    }
}

fn bit(priority: usize) -> u128 {
    u32::try_from(priority)
        .ok()
        .and_then(|priority| 1_u128.checked_shl(priority))
        .unwrap_or(0)
}

const UPDATE_FREQUENCY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::super::load::PriorityHosts;
    use super::*;

    fn priorities(healthy: &[usize]) -> Priorities {
        let hosts: Vec<_> = healthy
            .iter()
            .map(|healthy| PriorityHosts {
                healthy: *healthy,
                degraded: 0,
                total: 10,
            })
            .collect();
        Priorities::new(&hosts, 0)
    }

    fn shares(attempted: &AttemptedPriorities, priorities: &Priorities) -> Vec<u32> {
        let mut counts = vec![0; priorities.loads().len()];
        for random in 0..100 {
            counts[attempted.draw(priorities, random).unwrap().0] += 1;
        }
        counts
    }

    #[test]
    fn priorities_leave_the_draw_after_every_second_try() {
        let priorities = priorities(&[10, 10, 10]);
        let mut attempted = AttemptedPriorities::default();
        assert_eq!(shares(&attempted, &priorities), [100, 0, 0]);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [100, 0, 0]);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 100, 0]);
        attempted.record(1, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 100, 0]);
        attempted.record(1, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 0, 100]);
        attempted.record(2, &priorities);
        attempted.record(2, &priorities);
        // None is left: all come back, and the next one leaves after two tries more.
        assert_eq!(shares(&attempted, &priorities), [100, 0, 0]);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [100, 0, 0]);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 100, 0]);
    }

    #[test]
    fn the_others_share_by_their_availability_and_rounding_is_lost_on_none() {
        // Without the first: 14, 28 and 28 of 70, and what rounding leaves.
        let priorities = priorities(&[10, 1, 2, 2]);
        let mut attempted = AttemptedPriorities::default();
        attempted.record(0, &priorities);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 20, 40, 40]);
        let thirds = self::priorities(&[10, 1, 1, 1]);
        // 33 each, and in the second round the one percent that is left goes to the first.
        assert_eq!(shares(&attempted, &thirds), [0, 34, 33, 33]);
    }

    #[test]
    fn two_priorities_of_two_tries_leave_together() {
        let priorities = priorities(&[5, 5, 5]);
        let mut attempted = AttemptedPriorities::default();
        attempted.record(0, &priorities);
        attempted.record(1, &priorities);
        assert_eq!(shares(&attempted, &priorities), [0, 0, 100]);
    }

    #[test]
    fn with_no_host_available_the_shares_stay() {
        let priorities = priorities(&[0, 0]);
        let mut attempted = AttemptedPriorities::default();
        attempted.record(0, &priorities);
        attempted.record(0, &priorities);
        assert_eq!(shares(&attempted, &priorities), [100, 0]);
        attempted.record(200, &priorities);
    }
}
