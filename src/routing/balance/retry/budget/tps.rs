//! Linkerd's and tower's budget: of the calls of the last seconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Calls of the last ten seconds pay for retries: each call deposits 1, and a retry costs 1 divided
/// by the ratio. Some retries per second are free. As tower's `TpsBudget`, without its lock.
///
/// Only first tries deposit. Threads that take the last of it at the same moment may overdraw it by
/// one retry each.
#[derive(Debug)]
pub struct TpsBudget {
    /// Each packs a second and the balance of that second.
    slots: [AtomicU64; SLOTS as usize],
    cost: i64,
    reserve: i64,
}

impl TpsBudget {
    /// A budget of so many free retries per second, and one retry for so many calls.
    #[must_use]
    pub fn new(min_per_second: u32, calls_per_retry: u32) -> Self {
        let cost = i64::from(calls_per_retry.max(1));
        Self {
            slots: Default::default(),
            cost,
            reserve: i64::from(min_per_second)
                .saturating_mul(i64::from(SLOTS))
                .saturating_mul(cost),
        }
    }

    /// A call has its first try.
    pub fn deposit(&self, now: Duration) {
        self.add(now, 1);
    }

    /// Whether a retry may begin; if so, it is paid for.
    pub fn withdraw(&self, now: Duration) -> bool {
        let second = second(now);
        let recent = |word: u64| {
            let slot = Slot::unpack(word);
            let age = second.wrapping_sub(slot.second);
            if age < SLOTS {
                i64::from(slot.balance)
            } else {
                0
            }
        };
        let balance: i64 = self
            .slots
            .iter()
            .map(|slot| recent(slot.load(Ordering::Relaxed)))
            .sum();
        if balance.saturating_add(self.reserve) < self.cost {
            return false;
        }
        self.add(now, -self.cost);
        true
    }

    fn add(&self, now: Duration, amount: i64) {
        let second = second(now);
        let Some(slot) = self.slots.get((second % SLOTS) as usize) else {
            return;
        };
        let order = Ordering::Relaxed;
        let added = |word: u64| {
            let slot = Slot::unpack(word);
            let before = if slot.second == second {
                i64::from(slot.balance)
            } else {
                0
            };
            let balance = before.saturating_add(amount);
            let balance = balance.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            let balance = i32::try_from(balance).unwrap_or_default();
            Some(Slot { second, balance }.pack())
        };
        let _ = slot.fetch_update(order, order, added);
    }
}

/// Ten free retries per second, and a retry for five calls: tower's and Linkerd's.
impl Default for TpsBudget {
    fn default() -> Self {
        Self::new(10, 5)
    }
}

struct Slot {
    second: u32,
    balance: i32,
}

impl Slot {
    fn pack(&self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.balance.cast_unsigned())
    }

    fn unpack(word: u64) -> Self {
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            second: half(word >> 32),
            balance: half(word).cast_signed(),
        }
    }
}

/// Seconds, from 1 so that an empty slot is of none.
fn second(now: Duration) -> u32 {
    u32::try_from(now.as_secs() & u64::from(u32::MAX))
        .unwrap_or_default()
        .wrapping_add(SLOTS)
}

/// One for each of the last seconds.
const SLOTS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn withdrawals(budget: &TpsBudget, now: Duration) -> u32 {
        let mut count = 0;
        while budget.withdraw(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn five_calls_pay_for_a_retry() {
        let budget = TpsBudget::new(0, 5);
        assert!(!budget.withdraw(at(0)));
        (0..14).for_each(|_| budget.deposit(at(0)));
        assert_eq!(withdrawals(&budget, at(1)), 2);
        budget.deposit(at(1));
        assert_eq!(withdrawals(&budget, at(1)), 1);
    }

    #[test]
    fn a_hundred_retries_are_free_in_ten_seconds() {
        let budget = TpsBudget::default();
        assert_eq!(withdrawals(&budget, at(3)), 100);
        assert_eq!(withdrawals(&budget, at(12)), 0);
        assert_eq!(withdrawals(&budget, at(13)), 100);
    }

    #[test]
    fn deposits_are_forgotten_after_ten_seconds() {
        let budget = TpsBudget::new(0, 5);
        (0..10).for_each(|_| budget.deposit(at(5)));
        (0..5).for_each(|_| budget.deposit(at(9)));
        assert!(budget.withdraw(at(14)));
        // The deposits of the first second are gone, and what was withdrawn since counts.
        assert!(!budget.withdraw(at(15)));
        assert!(!budget.withdraw(at(1000)));
        (0..5).for_each(|_| budget.deposit(at(1005)));
        assert_eq!(withdrawals(&budget, at(1005)), 1);
    }

    #[test]
    fn many_threads_deposit_all() {
        let budget = TpsBudget::new(0, 1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| budget.deposit(at(1))));
            }
        });
        assert_eq!(withdrawals(&budget, at(1)), 2000);
    }
}
