//! The share of each priority, worked out when hosts or their health change.

/// How many hosts a priority has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityHosts {
    /// Hosts that are healthy, and not ejected.
    pub healthy: usize,
    /// Hosts that say that they are degraded.
    pub degraded: usize,
    /// All hosts, those of the other two included.
    pub total: usize,
}

/// Which hosts of a priority a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Availability {
    /// The healthy ones.
    Healthy,
    /// The degraded ones, which take what the healthy hosts of all priorities cannot.
    Degraded,
}

/// The share of a priority. All numbers are whole percents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityLoad {
    /// `min(100, 140 · healthy / total)`, rounded down; 0 without hosts.
    pub health: u32,
    /// The same of degraded hosts.
    pub degraded_health: u32,
    /// The share of calls for the healthy hosts; in panic, for all hosts.
    pub load: u32,
    /// The share of calls for the degraded hosts.
    pub degraded_load: u32,
    /// Too few hosts are available, so calls go to all hosts of the priority.
    pub is_panic: bool,
}

/// The shares of all priorities, highest first; they add up to 100 if there is a priority.
///
/// The arithmetic is that of Envoy's `LoadBalancerBase`, with the overprovisioning factor of 140 %
/// that Istio leaves as it is: the first priority keeps all calls while at least 72 % of its hosts
/// are available.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    loads: Box<[PriorityLoad]>,
}

impl Priorities {
    /// The shares of priorities with these hosts.
    ///
    /// A priority is in panic if less than `panic_threshold` percent of its hosts are available
    /// (healthy or degraded), unless the availability of all priorities adds up to 100 %. With a
    /// threshold of 0 there is no panic: if then no host is available, the first priority gets all
    /// calls, and has no host for them. If all priorities are in panic, each gets calls by the
    /// number of its hosts. A threshold above 100 is 100.
    #[must_use]
    pub fn new(hosts: &[PriorityHosts], panic_threshold: u32) -> Self {
        let mut loads: Box<[_]> = hosts.iter().map(health).collect();
        let total = available(&loads);
        if total > 0 {
            distribute(&mut loads, total);
        }
        let threshold = panic_threshold.min(100);
        if threshold == 0 && total == 0 {
            if let Some(first) = loads.first_mut() {
                first.load = 100;
            }
            return Self { loads };
        }
        for (load, hosts) in loads.iter_mut().zip(hosts) {
            load.is_panic = total < 100 && is_below(hosts, threshold);
        }
        if loads.iter().all(|load| load.is_panic) {
            distribute_in_total_panic(&mut loads, hosts);
        }
        Self { loads }
    }

    /// The shares, highest priority first.
    #[must_use]
    pub fn loads(&self) -> &[PriorityLoad] {
        &self.loads
    }

    /// Whether calls to this priority go to all of its hosts.
    #[must_use]
    pub fn is_panic(&self, priority: usize) -> bool {
        self.loads.get(priority).is_some_and(|load| load.is_panic)
    }

    /// The priority of a call, and which of its hosts; `None` without priorities.
    ///
    /// `random` is a random number, or the hash of the call where equal calls should meet the same
    /// host.
    #[must_use]
    pub fn draw(&self, random: u64) -> Option<(usize, Availability)> {
        let point = percent(random);
        let healthy = self.loads.iter().map(|load| load.load).enumerate();
        let degraded = self.loads.iter().map(|load| load.degraded_load).enumerate();
        let tiers = healthy
            .map(|(priority, load)| (priority, Availability::Healthy, load))
            .chain(degraded.map(|(priority, load)| (priority, Availability::Degraded, load)));
        let mut end = 0;
        for (priority, availability, load) in tiers {
            end += load;
            if point < end {
                return Some((priority, availability));
            }
        }
        None
    }
}

/// The point of the interval of all shares that a call falls on: 0 to 99.
pub(super) fn percent(random: u64) -> u32 {
    u32::try_from(random % 100).unwrap_or_default()
}

/// The availability of all priorities together, at most 100.
fn available(loads: &[PriorityLoad]) -> u32 {
    let each = loads.iter().map(|load| load.health + load.degraded_health);
    each.sum::<u32>().min(100)
}

fn health(hosts: &PriorityHosts) -> PriorityLoad {
    let share = |hosts: usize, total: usize| -> u32 {
        let percent = OVERPROVISIONING.saturating_mul(hosts).checked_div(total);
        percent.map_or(0, |percent| {
            u32::try_from(percent).map_or(100, |it| it.min(100))
        })
    };
    PriorityLoad {
        health: share(hosts.healthy, hosts.total),
        degraded_health: share(hosts.degraded, hosts.total),
        ..PriorityLoad::default()
    }
}

/// Healthy hosts first, by priority; then degraded ones, by priority. What rounding leaves goes to
/// the first priority with healthy hosts, or else to the first with degraded ones.
fn distribute(loads: &mut [PriorityLoad], total: u32) {
    let mut left = 100;
    for load in loads.iter_mut() {
        load.load = left.min(load.health * 100 / total);
        left -= load.load;
    }
    for load in loads.iter_mut() {
        load.degraded_load = left.min(load.degraded_health * 100 / total);
        left -= load.degraded_load;
    }
    if let Some(first) = loads.iter_mut().find(|load| load.health > 0) {
        first.load += left;
    } else if let Some(first) = loads.iter_mut().find(|load| load.degraded_health > 0) {
        first.degraded_load += left;
    }
}

/// Envoy's `recalculateLoadInTotalPanic`.
fn distribute_in_total_panic(loads: &mut [PriorityLoad], hosts: &[PriorityHosts]) {
    let total: usize = hosts.iter().map(|hosts| hosts.total).sum();
    let mut left = 100;
    for (load, hosts) in loads.iter_mut().zip(hosts) {
        let share = hosts.total.saturating_mul(100).checked_div(total);
        load.load = share.map_or(0, |share| u32::try_from(share).unwrap_or_default());
        load.degraded_load = 0;
        left -= load.load;
    }
    let first = hosts.iter().position(|hosts| hosts.total > 0).unwrap_or(0);
    if let Some(load) = loads.get_mut(first) {
        load.load += left;
    }
}

/// Whether less than this percentage of the hosts is available.
fn is_below(hosts: &PriorityHosts, threshold: u32) -> bool {
    let threshold = usize::try_from(threshold).unwrap_or(100);
    if hosts.total == 0 {
        return threshold > 0;
    }
    let available = hosts.healthy + hosts.degraded;
    available.saturating_mul(100) < hosts.total.saturating_mul(threshold)
}

/// Envoy's default `overprovisioning_factor`, in percent.
const OVERPROVISIONING: usize = 140;

#[cfg(test)]
mod tests;
