//! The hosts of a cluster, ready to be picked from.

use std::sync::Arc;

use crate::routing::balance::host::{Health, Host};
use crate::routing::balance::locality::{Locality, ZoneAware, effective_weight};
use crate::routing::balance::priority::{Availability, Priorities, PriorityHosts};

use super::call::{Call, Draw, Pick};
use super::policy::Policy;
use super::pool::{Member, Pool};
use super::tier::Tier;
use super::warm_up::WarmUp;

/// A host of a cluster, with its weight.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The host.
    pub host: Arc<Host>,
    /// Its weight among the hosts of its locality. 0 counts as 1.
    pub weight: u32,
}

/// The endpoints of one priority that are in one place.
#[derive(Clone, Debug)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// The locality's weight among those of its priority.
    pub weight: u32,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What the localities of one priority mean for picks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalityBalancing {
    /// Nothing: their hosts are one pool.
    #[default]
    Pooled,
    /// A locality is drawn before a host, by its weight times `min(1, 1.4 · available / total)`:
    /// with `distribute`, `failover`, `failoverPriority` or traffic distribution.
    ///
    /// For consistent hashing the weight counts as it is, in the shares of hosts, as in Envoy.
    Weighted,
    /// Calls stay in our locality as far as possible.
    ZoneAware(ZoneAware),
}

/// How hosts are picked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BalanceSettings {
    /// Which of the hosts of a pool.
    pub policy: Policy,
    /// `minHealthPercent`: see [`Priorities::new`].
    pub panic_threshold: u32,
    /// How new hosts begin.
    pub warm_up: Option<WarmUp>,
    /// What localities mean.
    pub localities: LocalityBalancing,
}

/// The hosts of a cluster at one time, and all that can be worked out about them in advance.
///
/// It does not change: when hosts come or go or their [health](Host::health) changes, a new one is
/// built and replaces it. So a pick locks and allocates nothing, and all threads share one set. What
/// picks look at besides, calls in flight and latencies, is in the [`Host`]s.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tower_mesh::routing::balance::{
///     BalanceSettings, Call, Endpoint, Host, HostSet, Locality, LocalityEndpoints,
/// };
///
/// let endpoint = |address: &str| Endpoint {
///     host: Arc::new(Host::new(address, Duration::ZERO)),
///     weight: 1,
/// };
/// let here = LocalityEndpoints {
///     locality: Locality::from_text("us/a"),
///     weight: 1,
///     endpoints: vec![endpoint("192.0.2.1:80"), endpoint("192.0.2.2:80")],
/// };
/// let mut random = || 7;
/// let set = HostSet::new(&BalanceSettings::default(), &[vec![here]], &mut random);
///
/// let call = Call::default();
/// let busy = set.pick(&call, &mut random).map(|pick| pick.host.start());
/// let next = set.pick(&call, &mut random).map(|pick| pick.host);
/// assert_ne!(next.map(|host| host.address()), busy.as_ref().map(|busy| busy.host().address()));
/// ```
#[derive(Debug)]
pub struct HostSet {
    priorities: Priorities,
    levels: Box<[Level]>,
}

#[derive(Debug)]
struct Level {
    healthy: Tier,
    /// `None` in panic, where the other one has all hosts.
    degraded: Option<Tier>,
}

impl HostSet {
    /// The set of these hosts, by priority, the highest first.
    ///
    /// `random` is for the places at which turns begin.
    #[must_use]
    pub fn new(
        settings: &BalanceSettings,
        priorities: &[Vec<LocalityEndpoints>],
        random: &mut impl FnMut() -> u64,
    ) -> Self {
        // Each host is asked once: its health may change while the set is built.
        let levels: Vec<Vec<Place<'_>>> = priorities
            .iter()
            .map(|localities| localities.iter().map(Place::new).collect())
            .collect();
        let hosts: Vec<_> = levels.iter().map(|places| count(places)).collect();
        let priorities = Priorities::new(&hosts, settings.panic_threshold);
        let levels = levels.iter().enumerate().map(|(priority, places)| {
            let builder = Builder {
                settings,
                priority,
                places,
            };
            if priorities.is_panic(priority) {
                Level {
                    healthy: builder.panic(random()),
                    degraded: None,
                }
            } else {
                Level {
                    healthy: builder.tier(Health::Healthy, random),
                    degraded: Some(builder.tier(Health::Degraded, random)),
                }
            }
        });
        let levels = levels.collect();
        Self { priorities, levels }
    }

    /// The host of a call; `None` if there is none that it may go to (503, flag `UH`).
    ///
    /// `random` gives random numbers, of which a pick takes a few.
    ///
    /// Except in panic, the host was available when the set was built. On a retry, hosts that were
    /// tried are passed over up to five times; in consistent hashing the hash moves on with each.
    pub fn pick<'a>(
        &'a self,
        call: &Call<'_>,
        random: &mut impl FnMut() -> u64,
    ) -> Option<Pick<'a>> {
        let most_picks = call.attempts.map_or(1, |attempts| attempts.most_picks());
        let mut last = None;
        for attempt in 0..most_picks {
            let pick = self.pick_once(call, attempt, random)?;
            if !call
                .attempts
                .is_some_and(|attempts| attempts.avoids(pick.host))
            {
                return Some(pick);
            }
            last = Some(pick);
        }
        last
    }

    fn pick_once(
        &self,
        call: &Call<'_>,
        attempt: u32,
        random: &mut impl FnMut() -> u64,
    ) -> Option<Pick<'_>> {
        // Calls of equal hash meet the same priority, too.
        let point = call.hash.unwrap_or_else(&mut *random);
        let (priority, availability) = match call.attempts {
            Some(attempts) => attempts.priorities().draw(&self.priorities, point)?,
            None => self.priorities.draw(point)?,
        };
        let level = self.levels.get(priority)?;
        let tier = match availability {
            Availability::Healthy => &level.healthy,
            Availability::Degraded => level.degraded.as_ref().unwrap_or(&level.healthy),
        };
        let draw = Draw {
            now: call.now,
            hash: call.hash,
            attempt,
        };
        Some(Pick {
            host: tier.pick(&draw, random)?,
            priority,
            is_panic: self.priorities.is_panic(priority),
        })
    }

    /// The shares of the priorities.
    #[must_use]
    pub fn priorities(&self) -> &Priorities {
        &self.priorities
    }
}

/// A locality, with the health of its hosts.
struct Place<'a> {
    locality: &'a Locality,
    weight: u32,
    endpoints: Vec<(&'a Endpoint, Health)>,
}

impl<'a> Place<'a> {
    fn new(locality: &'a LocalityEndpoints) -> Self {
        let health = |endpoint: &'a Endpoint| (endpoint, endpoint.host.health());
        Self {
            locality: &locality.locality,
            weight: locality.weight,
            endpoints: locality.endpoints.iter().map(health).collect(),
        }
    }

    fn of(&self, health: Option<Health>) -> impl Iterator<Item = &'a Endpoint> {
        let of_health = move |(_, its): &&(_, Health)| health.is_none_or(|health| *its == health);
        self.endpoints
            .iter()
            .filter(of_health)
            .map(|(endpoint, _)| *endpoint)
    }
}

fn count(places: &[Place<'_>]) -> PriorityHosts {
    let of = |health| places.iter().map(|place| place.of(health).count()).sum();
    PriorityHosts {
        healthy: of(Some(Health::Healthy)),
        degraded: of(Some(Health::Degraded)),
        total: of(None),
    }
}

/// Builds the tiers of one priority.
struct Builder<'a> {
    settings: &'a BalanceSettings,
    priority: usize,
    places: &'a [Place<'a>],
}

impl Builder<'_> {
    fn pool(&self, members: Vec<Member>, start: u64) -> Pool {
        Pool::new(self.settings.policy, self.settings.warm_up, members, start)
    }

    /// Members whose shares are by weight, of all or by the weights of localities.
    fn members(&self, health: Option<Health>) -> Vec<Member> {
        let is_weighted = self.settings.localities == LocalityBalancing::Weighted;
        let sum = |endpoints: &mut dyn Iterator<Item = &Endpoint>| -> f64 {
            endpoints
                .map(|endpoint| f64::from(endpoint.weight.max(1)))
                .sum()
        };
        let all = sum(&mut self.places.iter().flat_map(|place| place.of(health)));
        let localities: f64 = self
            .places
            .iter()
            .map(|place| f64::from(place.weight))
            .sum();
        let mut members = Vec::new();
        for place in self.places {
            let (factor, sum) = if is_weighted && localities > 0.0 {
                (
                    f64::from(place.weight) / localities,
                    sum(&mut place.of(health)),
                )
            } else {
                (1.0, all)
            };
            members.extend(place.of(health).map(|endpoint| Member {
                host: Arc::clone(&endpoint.host),
                weight: endpoint.weight.max(1),
                share: factor * f64::from(endpoint.weight.max(1)) / sum,
            }));
        }
        members
    }

    /// All hosts, with no regard to localities but in shares.
    fn panic(&self, start: u64) -> Tier {
        Tier::One(self.hashed_or_all(None, start))
    }

    fn hashed_or_all(&self, health: Option<Health>, start: u64) -> Pool {
        let mut members = self.members(health);
        if is_hashing(self.settings.policy) {
            // A locality of no weight has no place in a table.
            members.retain(|member| member.share > 0.0);
        }
        self.pool(members, start)
    }

    fn tier(&self, health: Health, random: &mut impl FnMut() -> u64) -> Tier {
        let one = |start: u64| Tier::One(self.hashed_or_all(Some(health), start));
        if is_hashing(self.settings.policy) {
            return one(random());
        }
        match &self.settings.localities {
            LocalityBalancing::Weighted => self
                .weighted(health, random)
                .unwrap_or_else(|| one(random())),
            LocalityBalancing::ZoneAware(zone_aware)
                if self.priority == 0 && health == Health::Healthy =>
            {
                let hosts: Vec<_> = self
                    .places
                    .iter()
                    .map(|place| (place.locality, place.of(Some(health)).count()))
                    .collect();
                let zones = self
                    .places
                    .iter()
                    .map(|place| self.of_place(place, health, random()));
                Tier::Zones {
                    routing: zone_aware.routing(&hosts),
                    zones: zones.collect(),
                    all: self.hashed_or_all(Some(health), random()),
                }
            }
            LocalityBalancing::Pooled | LocalityBalancing::ZoneAware(_) => one(random()),
        }
    }

    /// `None` if no locality has any weight.
    fn weighted(&self, health: Health, random: &mut impl FnMut() -> u64) -> Option<Tier> {
        let mut total = 0.0;
        let mut pools = Vec::new();
        for place in self.places {
            let available = place.of(Some(health)).count();
            let weight = effective_weight(place.weight, available, place.endpoints.len());
            if weight > 0.0 {
                total += weight;
                pools.push((total, self.of_place(place, health, random())));
            }
        }
        (!pools.is_empty()).then(|| Tier::Weighted(pools.into_boxed_slice()))
    }

    fn of_place(&self, place: &Place<'_>, health: Health, start: u64) -> Pool {
        let members = place.of(Some(health)).map(|endpoint| Member {
            host: Arc::clone(&endpoint.host),
            weight: endpoint.weight.max(1),
            share: 0.0,
        });
        self.pool(members.collect(), start)
    }
}

fn is_hashing(policy: Policy) -> bool {
    matches!(policy, Policy::RingHash { .. } | Policy::Maglev { .. })
}

#[cfg(test)]
mod tests;
