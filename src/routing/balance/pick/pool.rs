//! A pool: hosts of which one is picked, with no regard to where and how healthy they are.

use std::sync::Arc;
use std::time::Duration;

use crate::routing::balance::host::Host;
use crate::routing::balance::random::{below, happens, two_below};

use super::call::Draw;
use super::policy::Policy;
use super::schedule::Schedule;
use super::table::{Maglev, Placed, Ring};
use super::warm_up::WarmUp;

/// A host in a pool.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) host: Arc<Host>,
    pub(super) weight: u32,
    /// Its share in tables of consistent hashing.
    pub(super) share: f64,
}

#[derive(Debug)]
pub(super) struct Pool {
    members: Box<[Member]>,
    table: Table,
    warming: Option<Warming>,
}

#[derive(Debug)]
enum Table {
    LeastRequest(Schedule),
    PeakEwma(Schedule),
    RoundRobin(Schedule),
    Random,
    Ring(Ring),
    Maglev(Maglev),
}

#[derive(Clone, Copy, Debug)]
struct Warming {
    warm_up: WarmUp,
    /// When the last host will be warm.
    until: Duration,
}

impl Pool {
    pub(super) fn new(
        policy: Policy,
        warm_up: Option<WarmUp>,
        members: Vec<Member>,
        start: u64,
    ) -> Self {
        let schedule = || {
            let weights: Vec<_> = members.iter().map(|member| member.weight).collect();
            Schedule::new(&weights, start)
        };
        let placed = || -> Vec<_> {
            let placed = members.iter().map(|member| Placed {
                key: member.host.address(),
                weight: member.share,
            });
            placed.collect()
        };
        let table = match policy {
            Policy::LeastRequest => Table::LeastRequest(schedule()),
            Policy::PeakEwma => Table::PeakEwma(schedule()),
            Policy::RoundRobin => Table::RoundRobin(schedule()),
            Policy::Random => Table::Random,
            Policy::RingHash { minimum_size } => {
                Table::Ring(Ring::new(&placed(), minimum_size, u64::MAX))
            }
            Policy::Maglev { table_size } => Table::Maglev(Maglev::new(&placed(), table_size)),
        };
        let newest = members.iter().map(|member| member.host.appeared()).max();
        let warming = warm_up.zip(newest).map(|(warm_up, newest)| Warming {
            warm_up,
            until: newest.saturating_add(warm_up.duration),
        });
        Self {
            members: members.into_boxed_slice(),
            table,
            warming,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A host; `None` if there is none.
    #[inline]
    pub(super) fn pick(&self, draw: &Draw, random: &mut impl FnMut() -> u64) -> Option<&Arc<Host>> {
        let hash = |random: &mut dyn FnMut() -> u64| draw.hash.unwrap_or_else(random);
        let index = match &self.table {
            _ if self.members.len() < 2 => 0,
            Table::LeastRequest(schedule) => self.least_request(schedule, draw, random),
            Table::PeakEwma(schedule) => self.peak_ewma(schedule, draw, random),
            Table::RoundRobin(schedule) => self.round_robin(schedule, draw, random),
            Table::Random => below(random(), self.members.len()),
            Table::Ring(ring) => ring.host(hash(random), draw.attempt)?,
            Table::Maglev(maglev) => maglev.host(hash(random), draw.attempt)?,
        };
        self.members.get(index).map(|member| &member.host)
    }

    #[inline]
    fn least_request(
        &self,
        schedule: &Schedule,
        draw: &Draw,
        random: &mut impl FnMut() -> u64,
    ) -> usize {
        let warming = self.warming(draw.now);
        let (first, second) = self.two(schedule, warming, draw.now, random);
        let members = (self.members.get(first), self.members.get(second));
        let (Some(one), Some(two)) = members else {
            return first;
        };
        // Calls in flight, without one more: while there are none all hosts are equal, and the first
        // drawn gets the call, so that hosts get calls by weight.
        let in_flight = (one.host.in_flight(), two.host.in_flight());
        let is_better = if schedule.is_even() && warming.is_none() {
            in_flight.1 < in_flight.0
        } else {
            let weight = |member: &Member| {
                let factor = warming.map_or(1.0, |warm_up| factor(&warm_up, member, draw.now));
                f64::from(member.weight) * factor
            };
            f64::from(in_flight.1) * weight(one) < f64::from(in_flight.0) * weight(two)
        };
        if is_better { second } else { first }
    }

    fn peak_ewma(
        &self,
        schedule: &Schedule,
        draw: &Draw,
        random: &mut impl FnMut() -> u64,
    ) -> usize {
        let warming = self.warming(draw.now);
        let (first, second) = self.two(schedule, warming, draw.now, random);
        let cost = |index: usize| {
            let host = self.members.get(index).map(|member| &member.host);
            host.map(|host| host.latency().cost(host.in_flight(), draw.now))
        };
        if cost(second) < cost(first) {
            second
        } else {
            first
        }
    }

    /// Two different hosts, of at least two: the first by weight, so the second too, nearly.
    #[inline]
    fn two(
        &self,
        schedule: &Schedule,
        warming: Option<WarmUp>,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> (usize, usize) {
        if schedule.is_even() && warming.is_none() {
            return two_below(random(), self.members.len()).unwrap_or_default();
        }
        let first = self.draw(schedule, warming, now, random);
        let mut second = self.draw(schedule, warming, now, random);
        if second == first {
            // Any other one: which it is only matters where the first is busier for its weight.
            second = below(random(), self.members.len().saturating_sub(1));
            second += usize::from(second >= first);
        }
        (first, second)
    }

    /// A host by weight; a host that is warming is accepted by the part of its weight.
    fn draw(
        &self,
        schedule: &Schedule,
        warming: Option<WarmUp>,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> usize {
        let mut index = schedule.draw(random());
        let Some(warm_up) = warming else {
            return index;
        };
        for _ in 0..MOST_DRAWS_OF_WARM {
            if self.accepts(index, &warm_up, now, random) {
                break;
            }
            index = schedule.draw(random());
        }
        index
    }

    fn round_robin(
        &self,
        schedule: &Schedule,
        draw: &Draw,
        random: &mut impl FnMut() -> u64,
    ) -> usize {
        let index = schedule.next();
        let Some(warm_up) = self.warming(draw.now) else {
            return index;
        };
        if self.accepts(index, &warm_up, draw.now, random) {
            return index;
        }
        // Not the next in turn, which would have its own turn and that of the host before it.
        self.draw(schedule, Some(warm_up), draw.now, random)
    }

    fn accepts(
        &self,
        index: usize,
        warm_up: &WarmUp,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> bool {
        let factor = self
            .members
            .get(index)
            .map(|member| factor(warm_up, member, now));
        factor.is_none_or(|factor| factor >= 1.0 || happens(random(), factor))
    }

    fn warming(&self, now: Duration) -> Option<WarmUp> {
        let warming = self.warming.filter(|warming| now < warming.until);
        warming.map(|warming| warming.warm_up)
    }
}

fn factor(warm_up: &WarmUp, member: &Member, now: Duration) -> f64 {
    warm_up.factor(now.saturating_sub(member.host.appeared()))
}

/// If all hosts are new and have a tenth of their weight, 97 of 100 draws end before.
const MOST_DRAWS_OF_WARM: u32 = 32;
