//! The queue between those who submit and the thread of one trail: bounded in number and in bytes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::counters::Counters;
use super::flood::Head;
use crate::audit::record::Fields;
use crate::audit::scalar::Timestamp;

/// An event that waits. Trails share it.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) fields: Box<Fields>,
    pub(super) time: Timestamp,
    pub(super) head: Option<Head>,
    pub(super) weight: u64,
}

/// Tells one who waits whether an event is durable in a trail.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Trails that have not failed yet.
    left: AtomicUsize,
    is_durable: AtomicBool,
    answered: Notify,
}

/// What the thread gets.
#[derive(Debug)]
pub(super) enum Message {
    /// An event, and who waits for it in this trail.
    Event(Arc<Queued>, Option<Arc<Ticket>>),
    /// All events before this one are written, or lost, when the answer comes.
    Flush(SyncSender<()>),
}

impl Message {
    pub(super) fn event(&self) -> Option<&Arc<Queued>> {
        match self {
            Self::Event(event, _) => Some(event),
            Self::Flush(_) => None,
        }
    }
}

/// The end of those who submit.
#[derive(Debug)]
pub(super) struct Queue {
    messages: SyncSender<Message>,
    most_bytes: u64,
    most: u64,
    /// Whether each event is to be written soon.
    is_prompt: bool,
    /// Whether what the trail has written can be durable.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only a mesh asks for it")
    )]
    pub(super) keeps: bool,
    pub(super) shared: Arc<Shared>,
}

/// What both ends see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counters: Counters,
    /// Events that were dropped and are in no `gap` record yet, and when the first was.
    dropped: AtomicU64,
    dropped_since: AtomicU64,
    pub(super) is_broken: AtomicBool,
    /// Since when the thread is in a write: microseconds of the clock that never steps, or 0.
    busy_since: AtomicU64,
    pub(super) is_stopping: AtomicBool,
    /// Calls that are about to submit.
    submitting: AtomicUsize,
    pub(super) thread: OnceLock<Thread>,
    pub(super) ended: OnceLock<()>,
    /// Whether the thread of the second place still runs.
    pub(super) is_giving: AtomicBool,
}

pub(super) fn queue(
    name: String,
    most: usize,
    most_bytes: u64,
    is_prompt: bool,
    keeps: bool,
) -> (Queue, Receiver<Message>) {
    let (messages, received) = sync_channel(most);
    let queue = Queue {
        messages,
        most_bytes,
        most: most as u64,
        is_prompt,
        keeps,
        shared: Arc::new(Shared {
            counters: Counters::new(name),
            ..Shared::default()
        }),
    };
    (queue, received)
}

impl Queue {
    /// Gives the thread an event, or drops it and counts it. Never waits.
    pub(super) fn send(&self, event: &Arc<Queued>, ticket: Option<&Arc<Ticket>>) -> bool {
        let shared = &*self.shared;
        shared.submitting.fetch_add(1, Ordering::SeqCst);
        let counters = &shared.counters;
        let bytes = counters.queued_bytes.add(event.weight) + event.weight;
        let depth = counters.queued.add(1) + 1;
        let sent = !shared.is_stopping.load(Ordering::SeqCst)
            && depth <= self.most
            && bytes <= self.most_bytes
            && self
                .messages
                .try_send(Message::Event(Arc::clone(event), ticket.cloned()))
                .is_ok();
        if !sent {
            shared.taken(event.weight);
            // The head of a flood is in the count of it.
            if event.head.is_none() {
                shared.drop_one(event.time);
            }
        }
        shared.submitting.fetch_sub(1, Ordering::SeqCst);
        if sent && (self.is_prompt || ticket.is_some() || depth > self.most / 2) {
            shared.wake();
        }
        sent
    }

    pub(super) fn flush(&self) -> Option<Receiver<()>> {
        let (answer, answered) = sync_channel(1);
        let sent = self.messages.try_send(Message::Flush(answer));
        self.shared.wake();
        sent.is_ok().then_some(answered)
    }
}

impl Shared {
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Makes room for what was taken out.
    pub(super) fn taken(&self, weight: u64) {
        self.counters.queued.subtract(1);
        self.counters.queued_bytes.subtract(weight);
    }

    fn drop_one(&self, time: Timestamp) {
        self.counters.dropped.add(1);
        let since = time.micros().max(1);
        let _ = self
            .dropped_since
            .compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Release);
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) > 0
    }

    /// How many were dropped since this was asked, and when the first was. One that is dropped right
    /// now may have given its time away.
    pub(super) fn take_dropped(&self) -> Option<(u64, Option<Timestamp>)> {
        let count = match self.dropped.load(Ordering::Relaxed) {
            0 => return None,
            _ => self.dropped.swap(0, Ordering::Acquire),
        };
        let since = Some(self.dropped_since.swap(0, Ordering::Relaxed)).filter(|since| *since > 0);
        Some((count, since.map(Timestamp::from_micros)))
    }

    /// Whether nobody is about to submit. Asked after the stop was announced.
    pub(super) fn is_quiet(&self) -> bool {
        self.submitting.load(Ordering::SeqCst) == 0
    }

    pub(super) fn begin_write(&self, now: Duration) {
        self.busy_since.store(micros(now).max(1), Ordering::Relaxed);
    }

    pub(super) fn end_write(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// Whether an event that is submitted now can be durable in time.
    pub(super) fn is_available(&self, now: Duration, deadline: Duration) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        let is_stuck = since > 0 && micros(now).saturating_sub(since) > micros(deadline);
        !is_stuck && !self.is_broken.load(Ordering::Relaxed) && self.ended.get().is_none()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Ticket {
    pub(super) fn new(trails: usize) -> Self {
        Self {
            left: AtomicUsize::new(trails),
            is_durable: AtomicBool::new(false),
            answered: Notify::new(),
        }
    }

    pub(super) fn is_durable(&self) {
        self.is_durable.store(true, Ordering::Release);
        self.answered.notify_one();
    }

    pub(super) fn was_made_durable(&self) -> bool {
        self.is_durable.load(Ordering::Acquire)
    }

    pub(super) fn has_failed(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answered.notify_one();
        }
    }

    /// Waits until it is durable in one trail, or has failed in all.
    pub(super) async fn answer(&self) -> bool {
        loop {
            if self.is_durable.load(Ordering::Acquire) {
                return true;
            }
            if self.left.load(Ordering::Acquire) == 0 {
                return false;
            }
            self.answered.notified().await;
        }
    }
}
