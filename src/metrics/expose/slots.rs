#![expect(
    clippy::disallowed_types,
    reason = "a scrape locks its own place, which nobody else waits for"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::families::Exposition;

/// The scrapes that are under way. What they have read is kept here, and not with whoever writes it out: so a few places bound the memory of
/// all scrapes, however many are never taken to their end.
#[derive(Debug)]
pub(in crate::metrics) struct ScrapeSlots {
    places: [Mutex<Option<RunningScrape>>; MAX_SCRAPES],
    begun: AtomicU64,
}

#[derive(Debug)]
struct RunningScrape {
    number: u64,
    since: Instant,
    exposition: Exposition,
}

/// By what a scrape finds its place.
#[derive(Debug)]
pub(in crate::metrics) struct Ticket {
    place: usize,
    number: u64,
}

impl ScrapeSlots {
    pub(in crate::metrics) const fn new() -> Self {
        Self {
            places: [const { Mutex::new(None) }; MAX_SCRAPES],
            begun: AtomicU64::new(0),
        }
    }

    /// Begins a scrape of what `read` gives; `None` when too many are under way. One that takes too long loses its place.
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
        let mut places = self.places.iter().enumerate();
        let (place, mut taken) = places.find_map(|(place, taken)| {
            let taken = match taken.try_lock() {
                Ok(taken) => taken,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It is being written out.
                Err(TryLockError::WouldBlock) => return None,
            };
            is_free(&taken).then_some((place, taken))
        })?;
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        *taken = Some(RunningScrape {
            number,
            since: now,
            exposition: read(),
        });
        Some(Ticket { place, number })
    }

    /// Goes on with a scrape; `None` when it has lost its place.
    pub(in crate::metrics) fn go_on<T>(
        &self,
        ticket: &Ticket,
        write: impl FnOnce(&mut Exposition) -> T,
    ) -> Option<T> {
        let mut taken = self.place(ticket)?;
        let scraped = taken
            .as_mut()
            .filter(|scraped| scraped.number == ticket.number)?;
        Some(write(&mut scraped.exposition))
    }

    pub(in crate::metrics) fn end(&self, ticket: &Ticket) {
        if let Some(mut taken) = self.place(ticket) {
            taken.take_if(|scraped| scraped.number == ticket.number);
        }
    }

    fn place(&self, ticket: &Ticket) -> Option<MutexGuard<'_, Option<RunningScrape>>> {
        let place = self.places.get(ticket.place)?;
        Some(place.lock().unwrap_or_else(PoisonError::into_inner))
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
        let (scrapes, table) = (ScrapeSlots::new(), SeriesTable::new());
        let start = Instant::now();
        let begin = |now| scrapes.begin(now, || Exposition::read(&table));
        let goes_on = |ticket: &Ticket| scrapes.go_on(ticket, |_| ()).is_some();
        let slow: Vec<_> = (0..MAX_SCRAPES).map(|_| begin(start).unwrap()).collect();
        let nearly = start + LONGEST_SCRAPE.saturating_sub(Duration::from_secs(1));
        assert!(begin(nearly).is_none());
        assert!(slow.iter().all(goes_on));
        let next = begin(start + LONGEST_SCRAPE).unwrap();
        assert!(goes_on(&next) && !goes_on(&slow[0]) && goes_on(&slow[1]));
        // Whoever lost it gives nothing back.
        scrapes.end(&slow[0]);
        assert!(goes_on(&next));
        scrapes.end(&next);
        assert!(!goes_on(&next));
    }
}
