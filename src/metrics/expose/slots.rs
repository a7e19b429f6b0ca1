#![expect(
    clippy::disallowed_types,
    reason = "a scrape locks its own slot, and no other waits for it"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::families::Exposition;

/// The scrapes that are running. Each reads all metrics into a slot here, not into its response:
/// the few slots bound the memory of all scrapes, even of those that are never read to the end.
#[derive(Debug)]
pub(in crate::metrics) struct ScrapeSlots {
    slots: [Mutex<Option<RunningScrape>>; MAX_SCRAPES],
    begun: AtomicU64,
}

#[derive(Debug)]
struct RunningScrape {
    number: u64,
    since: Instant,
    exposition: Exposition,
}

/// Finds the slot of a scrape.
#[derive(Debug)]
pub(in crate::metrics) struct Ticket {
    slot: usize,
    number: u64,
}

impl ScrapeSlots {
    pub(in crate::metrics) const fn new() -> Self {
        Self {
            slots: [const { Mutex::new(None) }; MAX_SCRAPES],
            begun: AtomicU64::new(0),
        }
    }

    /// Begins a scrape of what `read` returns; `None` if all slots are taken. A scrape that takes
    /// too long loses its slot.
    pub(in crate::metrics) fn begin(
        &self,
        now: Instant,
        read: impl FnOnce() -> Exposition,
    ) -> Option<Ticket> {
        let is_free = |taken: &Option<RunningScrape>| {
            taken.as_ref().is_none_or(|scraped| {
                now.saturating_duration_since(scraped.since) >= LONGEST_SCRAPE
            })
        };
        let mut slots = self.slots.iter().enumerate();
        let (slot, mut taken) = slots.find_map(|(slot, taken)| {
            let taken = match taken.try_lock() {
                Ok(taken) => taken,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It is being written.
                Err(TryLockError::WouldBlock) => return None,
            };
            is_free(&taken).then_some((slot, taken))
        })?;
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        *taken = Some(RunningScrape {
            number,
            since: now,
            exposition: read(),
        });
        Some(Ticket { slot, number })
    }

    /// Continues a scrape; `None` if it has lost its slot.
    pub(in crate::metrics) fn resume<T>(
        &self,
        ticket: &Ticket,
        write: impl FnOnce(&mut Exposition) -> T,
    ) -> Option<T> {
        let mut taken = self.slot(ticket)?;
        let scraped = taken
            .as_mut()
            .filter(|scraped| scraped.number == ticket.number)?;
        Some(write(&mut scraped.exposition))
    }

    pub(in crate::metrics) fn end(&self, ticket: &Ticket) {
        if let Some(mut taken) = self.slot(ticket) {
            taken.take_if(|scraped| scraped.number == ticket.number);
        }
    }

    fn slot(&self, ticket: &Ticket) -> Option<MutexGuard<'_, Option<RunningScrape>>> {
        let slot = self.slots.get(ticket.slot)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Two Prometheus servers of a pair, an agent, and a person.
const MAX_SCRAPES: usize = 4;
/// Three times Prometheus' default timeout.
const LONGEST_SCRAPE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::table::SeriesTable;

    #[test]
    fn a_scrape_that_takes_too_long_loses_its_place_and_no_other() {
        let (scrapes, table) = (ScrapeSlots::new(), SeriesTable::new(None));
        let start = Instant::now();
        let read = |now| Exposition::read(&table.snapshot(now), None, None);
        let begin = |now| scrapes.begin(now, || read(now));
        let goes_on = |ticket: &Ticket| scrapes.resume(ticket, |_| ()).is_some();
        let slow: Vec<_> = (0..MAX_SCRAPES).map(|_| begin(start).unwrap()).collect();
        let nearly = start + LONGEST_SCRAPE.saturating_sub(Duration::from_secs(1));
        assert!(begin(nearly).is_none());
        assert!(slow.iter().all(goes_on));
        let next = begin(start + LONGEST_SCRAPE).unwrap();
        assert!(goes_on(&next) && !goes_on(&slow[0]) && goes_on(&slow[1]));
        // A scrape without a slot gives none back.
        scrapes.end(&slow[0]);
        assert!(goes_on(&next));
        scrapes.end(&next);
        assert!(!goes_on(&next));
    }
}
