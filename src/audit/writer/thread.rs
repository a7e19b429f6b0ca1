//! The thread of one trail.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::clock::Clock;
use super::flood::{CELLS, Flood, Head};
use super::place::{Fault, Place};
use super::queue::{Message, Queued, Shared, Ticket};
use super::second::Second;
use super::settings::Durability;
use super::stream::{State, Stream};
use crate::audit::proof::Signer;
use crate::audit::record::{Bounded, Fields};
use crate::audit::scalar::Timestamp;
use crate::audit::store::SealingFile;

/// Writes the events of one trail.
pub(super) struct Writer {
    pub(super) received: Receiver<Message>,
    /// Messages that were taken out while the place was broken. With those in the queue they are no
    /// more than the queue may have.
    pub(super) backlog: VecDeque<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) flood: Arc<Flood>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) durability: Durability,
    pub(super) place: Place,
    pub(super) signer: Option<Box<dyn Signer>>,
    pub(super) second_place: Option<Second>,
    pub(super) sealing: Option<SealingFile>,
    pub(super) evolve_not_before: Duration,
    pub(super) checkpoint_records: u64,
    pub(super) checkpoint_every: Duration,

    /// The first record of the stream.
    pub(super) start: Box<Fields>,
    /// Whether it is signed at once: the stream that it names has an end without a checkpoint.
    pub(super) signs_start: bool,
    pub(super) stream: Stream,
    /// The stream up to the last write, and up to the last sync.
    pub(super) written: State,
    pub(super) durable: State,
    pub(super) buffer: Vec<u8>,
    pub(super) gap: Gap,
    pub(super) unsynced: Unsynced,
    /// Checkpoints that are given on when they are durable.
    pub(super) notes: Vec<String>,
    /// Those that are.
    pub(super) durable_notes: Vec<String>,
    pub(super) checkpoint_at: Duration,
    pub(super) sign_not_before: Duration,
    /// Whether the place has failed, so that it must be begun anew.
    pub(super) is_broken: bool,
    /// When the last attempt began, and when the next is due if it has failed.
    pub(super) began: Duration,
    pub(super) probe_at: Duration,
    pub(super) floods: Floods,
    pub(super) clocks: (SystemTime, Duration),
    pub(super) clock_step: Option<i64>,
}

/// Floods of refusals, as this trail has read them.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// The heads of those whose second is not over.
    heads: Vec<Arc<Queued>>,
    /// The counts of those whose heads are in the backlog.
    counts: HashMap<Head, u64>,
    /// Those that are over, and not written yet.
    ended: Vec<Item>,
    /// The last second that was read, and how many refusals in all.
    second: u64,
    read: u64,
}

impl Floods {
    /// From the next second on.
    pub(super) fn new(second: u64) -> Self {
        Self {
            second,
            ..Self::default()
        }
    }
}

/// An event, and for how many it stands.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) event: Arc<Queued>,
    pub(super) ticket: Option<Arc<Ticket>>,
    pub(super) count: u64,
}

/// What the next `gap` record will say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap {
    pub(super) n: u64,
    pub(super) since: Option<Timestamp>,
    pub(super) why: Option<&'static str>,
    /// The trail could not be written, so the record is due even if nothing was lost.
    pub(super) is_failure: bool,
}

/// What was written since the last sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    pub(super) events: u64,
    /// What `gap` records stand for, and how many records these are.
    pub(super) gap: Gap,
    pub(super) gaps: u64,
    pub(super) since: Option<Duration>,
}

impl Item {
    /// A refusal that stands for so many.
    fn counted(event: Arc<Queued>, count: u64) -> Self {
        Self {
            event,
            ticket: None,
            count,
        }
    }
}

impl Gap {
    pub(super) fn add(&mut self, n: u64, since: Timestamp, why: &'static str) {
        self.n += n;
        self.since = Some(self.since.map_or(since, |before| before.min(since)));
        self.why.get_or_insert(why);
    }

    /// Adds one that was to be written and is not.
    pub(super) fn join(&mut self, other: Self) {
        self.n += other.n;
        self.since = match (self.since, other.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.why = self.why.or(other.why);
        self.is_failure |= other.is_failure;
    }

    pub(super) fn is_due(&self) -> bool {
        self.n > 0 || self.is_failure
    }
}

pub(super) fn reason(word: Option<&'static str>) -> Bounded<256> {
    word.map(Bounded::new).unwrap_or_default()
}

impl Writer {
    /// Writes until the stop, and all that was submitted before it.
    ///
    /// A request that wakes a thread pays microseconds for it. So the thread looks again by itself
    /// after a while, and only an event that somebody waits for wakes it.
    pub(super) fn run(self) {
        // Dropped after the writer, so that the lock of its folder is free when the end is told.
        let _ended = Ended(Arc::clone(&self.shared));
        self.write();
    }

    fn write(mut self) {
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        let mut nap = FIRST_NAP;
        loop {
            let is_stopping = self.shared.is_stopping.load(Ordering::SeqCst);
            while is_stopping && !self.shared.is_quiet() {
                thread::yield_now();
            }
            if self.is_broken && !is_stopping {
                if self.clock.elapsed() >= self.probe_at {
                    self.commit(&[], false, true);
                }
                if self.is_broken {
                    self.refuse_waiting();
                    self.end_floods(false);
                    thread::park_timeout(LAST_NAP);
                    continue;
                }
            }
            let is_open = self.gather(&mut batch, &mut answers);
            let is_empty = batch.is_empty() && answers.is_empty();
            if is_empty && (is_stopping || !is_open) {
                break;
            }
            self.end_floods(false);
            batch.append(&mut self.floods.ended);
            if !batch.is_empty() || !answers.is_empty() || self.is_due() {
                self.commit(&batch, false, !answers.is_empty());
                batch.clear();
                for answer in answers.drain(..) {
                    let _ = SyncSender::try_send(&answer, ());
                }
                nap = FIRST_NAP;
            } else {
                thread::park_timeout(nap.min(self.until_sync()));
                nap = (2 * nap).min(LAST_NAP);
            }
        }
        self.end_floods(true);
        batch.append(&mut self.floods.ended);
        self.commit(&batch, true, true);
    }

    /// Writes the first record.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        let begun = self.place.recover(self.clock.elapsed());
        let begun = begun.and_then(|()| self.attempt(&[], &mut 0, false, true));
        if let Err(fault) = &begun {
            self.has_failed(*fault);
            self.shared.is_broken.store(true, Ordering::Relaxed);
        }
        self.give_checkpoints();
        begun
    }

    /// Takes events out of the queue. Returns whether any can come.
    fn gather(&mut self, batch: &mut Vec<Item>, answers: &mut Vec<SyncSender<()>>) -> bool {
        let mut bytes = 0;
        while batch.len() < MOST_BATCH && bytes < MOST_BATCH_BYTES {
            let next = match self.backlog.pop_front() {
                Some(message) => Ok(message),
                None => self.received.try_recv(),
            };
            match next {
                Ok(Message::Event(event, ticket)) => {
                    self.shared.taken(event.weight);
                    bytes += event.weight;
                    match event.head {
                        Some(head) if head.second <= self.floods.second => {
                            let count = self.floods.counts.remove(&head).unwrap_or(1);
                            batch.push(Item::counted(event, count));
                        }
                        Some(_) => self.floods.heads.push(event),
                        None => batch.push(Item {
                            event,
                            ticket,
                            count: 1,
                        }),
                    }
                }
                Ok(Message::Flush(answer)) => {
                    answers.push(answer);
                    break;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// Tells those who wait in the queue that they need not, while the place is broken. What they wait
    /// for stays in the queue: it is counted there until it is written.
    fn refuse_waiting(&mut self) {
        while let Ok(message) = self.received.try_recv() {
            match message {
                Message::Event(event, ticket) => {
                    if let Some(ticket) = ticket {
                        ticket.has_failed();
                    }
                    self.backlog.push_back(Message::Event(event, None));
                }
                // Events are counted; these are not. One that is let go of has failed.
                flush if self.backlog.len() < MOST_BACKLOG => self.backlog.push_back(flush),
                Message::Flush(_) => {}
            }
        }
    }

    /// Reads the counts of floods whose second is over; at the stop, of all. They are kept for a minute
    /// only, so this goes on while the place is broken.
    fn end_floods(&mut self, is_last: bool) {
        let now = self.clock.elapsed().as_secs() + 1;
        // A request that has read the clock may count a moment later.
        let until = if is_last { now } else { now.saturating_sub(2) };
        let oldest = until.saturating_sub(CELLS as u64 - 4);
        let first = (self.floods.second + 1).max(oldest);
        let is_late = first > self.floods.second + 1;
        let mut dropped = 0;
        for second in first..=until {
            for (head, count) in Arc::clone(&self.flood).ended(second) {
                self.floods.read += count;
                if !self.stands_for(head, count) {
                    // Its head found no room.
                    dropped += count;
                }
            }
        }
        if is_late {
            // The counts of these are gone, because the thread was stuck: they stand for themselves.
            self.take_in();
            let waiting = self.backlog.iter().filter_map(Message::event);
            let heads = self.floods.heads.iter().chain(waiting);
            let heads = heads.filter_map(|event| event.head);
            let old: Vec<_> = heads.filter(|head| head.second < first).collect();
            for head in old {
                if !self.floods.counts.contains_key(&head) {
                    self.floods.read += 1;
                    self.stands_for(head, 1);
                }
            }
        }
        self.floods.second = self.floods.second.max(until);
        if is_late || is_last {
            let forgotten = self.flood.forgotten(self.floods.read, until);
            self.floods.read += forgotten;
            dropped += forgotten;
        }
        if dropped > 0 {
            self.shared.counters.dropped.add(dropped);
            self.gap.add(dropped, self.clock.now().into(), "queue_full");
        }
    }

    /// Notes for how many the head of a flood stands, and returns whether it was found.
    fn stands_for(&mut self, head: Head, count: u64) -> bool {
        let is_it = |event: &Arc<Queued>| event.head == Some(head);
        if let Some(index) = self.floods.heads.iter().position(is_it) {
            let event = self.floods.heads.swap_remove(index);
            self.floods.ended.push(Item::counted(event, count));
            return true;
        }
        self.take_in();
        let is_waiting = self.backlog.iter().filter_map(Message::event).any(is_it);
        if is_waiting {
            self.floods.counts.insert(head, count);
        }
        is_waiting
    }

    /// Takes all messages out of the channel. What waits here is counted as in the queue.
    fn take_in(&mut self) {
        self.backlog.extend(self.received.try_iter());
    }

    fn is_due(&self) -> bool {
        let elapsed = self.clock.elapsed();
        let is_late = elapsed >= self.checkpoint_at + self.checkpoint_every;
        let is_full = match &self.place {
            Place::Folder(folder) => folder.is_full(elapsed),
            Place::Sink(_) => false,
        };
        let is_unsigned = self.signer.is_some() && self.stream.unsigned() > 0;
        self.is_sync_due(elapsed)
            || is_unsigned && is_late
            || is_full
            || self.gap.is_due()
            || self.shared.has_dropped()
            || self.must_evolve(elapsed)
    }

    pub(super) fn is_sync_due(&self, elapsed: Duration) -> bool {
        let Some(since) = self.unsynced.since else {
            return false;
        };
        let age = elapsed.saturating_sub(since);
        match self.durability {
            Durability::Strict => true,
            Durability::Grouped(events, time) => self.unsynced.events >= events || age >= time,
            Durability::Interval(time) => age >= time,
        }
    }

    fn until_sync(&self) -> Duration {
        match (self.unsynced.since, self.durability) {
            (Some(_), Durability::Grouped(_, time) | Durability::Interval(time)) => {
                time.max(FIRST_NAP)
            }
            _ => LAST_NAP,
        }
    }

    /// Notes by how much the clock was set since the last time.
    pub(super) fn notice_clock_step(&mut self) {
        let (time, elapsed) = (self.clock.now(), self.clock.elapsed());
        let (time_before, elapsed_before) = self.clocks;
        let expected = time_before + elapsed.saturating_sub(elapsed_before);
        let millis = |step: Duration| i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let step = match time.duration_since(expected) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        if step.abs() > MOST_STEP_MILLIS {
            self.clock_step = Some(step);
        }
        // A clock that is slewed moves the mark along.
        self.clocks = (time, elapsed);
    }
}

/// Says that the thread has ended, also when it panics.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.ended.set(());
    }
}

const FIRST_NAP: Duration = Duration::from_millis(1);
const LAST_NAP: Duration = Duration::from_millis(50);
const MOST_BACKLOG: usize = 16 * 1024;
const MOST_BATCH: usize = 4096;
const MOST_BATCH_BYTES: u64 = 4 * 1024 * 1024;
const MOST_STEP_MILLIS: i64 = 1000;
