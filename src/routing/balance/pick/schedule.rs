//! Turns by weight: an earliest-deadline-first queue that is worked out in advance.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::{self, AtomicUsize};

use crate::routing::balance::random::below;

/// Whose turn it is, of hosts with weights.
///
/// Envoy keeps a queue of deadlines per worker thread and puts a host back with
/// `deadline + 1/weight` when it was picked. Here all threads share one, so a queue would need a
/// lock. But with weights that do not change the queue repeats itself: after as many picks as all
/// weights, divided by what divides them all, every host has had its weight in turns. That round is
/// worked out once, and a pick is one atomic addition and one load.
///
/// A round has at most [`LONGEST_ROUND`] turns, or one per host. With weights that need more, each
/// host gets the turns next to its share, and at least one.
///
/// The turns also serve for drawing a host by weight: each is as likely as any other.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Empty where all hosts have one turn.
    turns: Box<[u32]>,
    hosts: usize,
    next: AtomicUsize,
}

impl Schedule {
    /// A schedule of hosts with these weights, of which the first turn is `start`, a random number:
    /// without it all processes would begin with the same host.
    pub(super) fn new(weights: &[u32], start: u64) -> Self {
        let turns = round(&turns_of(weights));
        let start = below(start, turns.len().max(weights.len()));
        Self {
            turns,
            hosts: weights.len(),
            next: AtomicUsize::new(start),
        }
    }

    /// Whether all hosts have equal weights.
    pub(super) fn is_even(&self) -> bool {
        self.turns.is_empty()
    }

    /// The host whose turn it is; 0 without hosts.
    #[inline]
    pub(super) fn next(&self) -> usize {
        let turn = self.next.fetch_add(1, atomic::Ordering::Relaxed);
        self.host(turn.checked_rem(self.len()).unwrap_or_default())
    }

    /// A host at random, by weight.
    #[inline]
    pub(super) fn draw(&self, random: u64) -> usize {
        self.host(below(random, self.len()))
    }

    fn len(&self) -> usize {
        if self.is_even() {
            self.hosts
        } else {
            self.turns.len()
        }
    }

    #[inline]
    fn host(&self, turn: usize) -> usize {
        self.turns.get(turn).map_or(turn, |host| *host as usize)
    }
}

/// How often each host comes in a round; empty if all come once.
fn turns_of(weights: &[u32]) -> Vec<u64> {
    let divisor = weights
        .iter()
        .fold(0, |divisor, weight| gcd(divisor, *weight));
    let divisor = u64::from(divisor.max(1));
    let turns = weights.iter().map(|weight| u64::from(*weight) / divisor);
    let turns: Vec<_> = turns.map(|turns| turns.max(1)).collect();
    if turns.iter().all(|turns| *turns == 1) {
        return Vec::new();
    }
    let total: u64 = turns.iter().sum();
    if total <= LONGEST_ROUND {
        return turns;
    }
    let scaled = |turns: u64| {
        let turns = u128::from(turns) * u128::from(LONGEST_ROUND);
        let rounded = (turns + u128::from(total / 2)) / u128::from(total);
        u64::try_from(rounded).unwrap_or(LONGEST_ROUND).max(1)
    };
    turns.into_iter().map(scaled).collect()
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The order of a round: earliest deadline first, and of equal ones the one that was queued first.
fn round(turns: &[u64]) -> Box<[u32]> {
    let total: u64 = turns.iter().sum();
    let mut order = 0;
    let mut queue = BinaryHeap::with_capacity(turns.len());
    for (host, turns) in (0..).zip(turns) {
        queue.push(Entry {
            turn: 1,
            turns: *turns,
            order,
            host,
        });
        order += 1;
    }
    let mut round = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
    for _ in 0..total {
        let Some(mut entry) = queue.pop() else { break };
        round.push(entry.host);
        entry.turn += 1;
        entry.order = order;
        order += 1;
        queue.push(entry);
    }
    round.into_boxed_slice()
}

/// A host in the queue, with the deadline `turn / turns`.
#[derive(PartialEq, Eq)]
struct Entry {
    turn: u64,
    turns: u64,
    order: u64,
    host: u32,
}

impl Ord for Entry {
    /// The heap gives the greatest first, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        // Exact, where Envoy's sums of floats are not: equal deadlines are equal.
        let (ours, theirs) = (self.turn * other.turns, other.turn * self.turns);
        theirs.cmp(&ours).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The most turns of a round: 256 KiB, and a share is off by one in 131,072 at most.
const LONGEST_ROUND: u64 = 1 << 16;

#[cfg(test)]
mod tests;
