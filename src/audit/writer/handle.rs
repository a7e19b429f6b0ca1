//! What an application holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::counters::Counters;
use super::error::AuditUnavailable;
use super::flood::{Admit, Flood, Head};
use super::queue::{Queue, Queued, Ticket};
use super::settings::OnFailure;
use crate::audit::record::Event;

/// An audit: its trails, which a thread each writes. Cheap to clone; clones share the trails.
///
/// When the last clone is gone, the threads write what is left and end;
/// [`shutdown`](Self::shutdown) waits for that.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_mesh::audit::{Audit, Call, Event, Outcome, Trail};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let audit = Audit::builder().trail(Trail::folder(folder.path())).start()?;
/// let call = Call::next();
/// // An error here is a 503, and the handler does not run.
/// audit.submit_durable(Event::intent(call).outcome(Outcome::Allow)).await?;
/// audit.submit(Event::completion(call).outcome(Outcome::Allow).status(200));
/// assert!(audit.shutdown(Duration::from_secs(60)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

pub(super) struct Inner {
    queues: Vec<Queue>,
    flood: Arc<Flood>,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    on_failure: OnFailure,
    unavailable: AtomicU64,
    aggregated: AtomicU64,
}

/// What became of an event that was to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is durable in at least one trail.
    Durable,
    /// It is not, and the audit was told to [continue](OnFailure::Continue) then.
    NotDurable,
}

impl Audit {
    /// Writes an event to all trails. Never waits: an event for which a trail has no room is dropped
    /// there, counted, and told by a `gap` record.
    ///
    /// Of refused accesses ([`Event::access`] with [`Outcome::Deny`](crate::audit::Outcome::Deny))
    /// past 100 in a second for one reason and caller, one record is written, with their count. Past
    /// 256 such pairs at once, those that find no place share a record of the reason `others`, which
    /// names no caller. Intents, completions and all other events have a record each.
    pub fn submit(&self, mut event: Event) {
        let mut head = None;
        if event.is_refusal() {
            match self.admit(&event) {
                Admit::Alone => {}
                Admit::Head(first) => {
                    head = Some(first);
                    if first.is_of_others() {
                        event = event.of_others();
                    }
                }
                Admit::Counted => {
                    self.0.aggregated.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
        self.send(event, None, head);
    }

    /// Writes an event to all trails. The future ends when it is durable in one of them. The event is
    /// submitted by the call, not by the first poll.
    ///
    /// The future needs the timer of a tokio runtime.
    ///
    /// # Errors
    /// No trail has made it durable within the deadline, or none can now. What it is about must then
    /// not happen. Its record may still be written: submit a completion that says so.
    pub fn submit_durable(
        &self,
        event: Event,
    ) -> impl Future<Output = Result<Recorded, AuditUnavailable>> + Send + use<> {
        let inner = Arc::clone(&self.0);
        let ticket = Arc::new(Ticket::new(inner.queues.len()));
        self.send(event, Some(&ticket), None);
        async move {
            let answer = tokio::time::timeout(inner.deadline, ticket.answer()).await;
            // What became durable at the last moment counts.
            let is_durable = answer.unwrap_or_else(|_| ticket.was_made_durable());
            if is_durable {
                return Ok(Recorded::Durable);
            }
            inner.unavailable.fetch_add(1, Ordering::Relaxed);
            match inner.on_failure {
                OnFailure::Refuse => Err(AuditUnavailable(())),
                OnFailure::Continue => Ok(Recorded::NotDurable),
            }
        }
    }

    fn admit(&self, event: &Event) -> Admit {
        let second = self.0.clock.elapsed().as_secs() + 1;
        self.0.flood.admit(event.flood_key(), second)
    }

    fn send(&self, event: Event, ticket: Option<&Arc<Ticket>>, head: Option<Head>) {
        let weight = event.0.weight() as u64;
        let queued = Arc::new(Queued {
            fields: event.0,
            time: self.0.clock.now().into(),
            head,
            weight,
        });
        for queue in &self.0.queues {
            // A trail that cannot write now gets the event, but nobody waits for it there.
            let waiting = ticket.filter(|_| self.0.is_available(queue));
            let is_sent = queue.send(&queued, waiting);
            if let Some(ticket) = ticket
                && !(is_sent && waiting.is_some())
            {
                ticket.has_failed();
            }
        }
    }

    /// Waits until all events before this call are written and durable, or lost, but no longer than
    /// `most`; returns whether they are. It blocks the thread.
    #[must_use]
    pub fn flush(&self, most: Duration) -> bool {
        let began = Instant::now();
        self.0.queues.iter().all(|queue| {
            loop {
                let left = most.saturating_sub(began.elapsed());
                if let Some(answered) = queue.flush() {
                    break answered.recv_timeout(left).is_ok();
                }
                if left.is_zero() || queue.shared.ended.get().is_some() {
                    break false;
                }
                thread::sleep(BETWEEN_TRIES);
            }
        })
    }

    /// Takes no more events, writes those before, a `stop` record and a checkpoint, and waits until
    /// the threads have ended and the second place has this checkpoint, but no longer than `most`;
    /// returns whether they have. It blocks the thread.
    ///
    /// Events after it are dropped and counted.
    #[must_use]
    pub fn shutdown(&self, most: Duration) -> bool {
        self.0.stop();
        let began = Instant::now();
        let has_ended = || {
            let mut shared = self.0.queues.iter().map(|queue| &queue.shared);
            shared.all(|shared| {
                shared.ended.get().is_some() && !shared.is_giving.load(Ordering::SeqCst)
            })
        };
        while !has_ended() && began.elapsed() < most {
            thread::sleep(BETWEEN_TRIES);
        }
        has_ended()
    }

    /// The counts of each trail, in the order in which they were added.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.0.queues.iter().map(|queue| &queue.shared.counters)
    }

    /// How many trails cannot be written now: their last attempt has failed, or has been stuck for
    /// longer than the [deadline](super::AuditBuilder::deadline), or their thread has ended. What is
    /// submitted to them waits or is dropped, and [`submit_durable`](Self::submit_durable) does not
    /// wait for them.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.failing_trails().count()
    }

    /// The counts of the trails that cannot be written now, each with its
    /// [name](Counters::name).
    pub fn failing_trails(&self) -> impl Iterator<Item = &Counters> {
        let queues = self.0.queues.iter();
        let failing = queues.filter(|queue| !self.0.is_available(queue));
        failing.map(|queue| &queue.shared.counters)
    }

    /// Whether there is a trail that can make a record durable now.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn is_available(&self) -> bool {
        let mut queues = self.0.queues.iter();
        queues.any(|queue| queue.keeps && self.0.is_available(queue))
    }

    /// Whether events that cannot be made durable are refused.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn refuses(&self) -> bool {
        self.0.on_failure == OnFailure::Refuse
    }

    /// How many events were not durable in time.
    #[must_use]
    pub fn unavailable(&self) -> u64 {
        self.0.unavailable.load(Ordering::Relaxed)
    }

    /// How many refusals have no record of their own, but are in the count of another.
    #[must_use]
    pub fn aggregated(&self) -> u64 {
        self.0.aggregated.load(Ordering::Relaxed)
    }
}

impl Inner {
    pub(super) fn new(
        queues: Vec<Queue>,
        flood: Arc<Flood>,
        clock: Arc<dyn Clock>,
        deadline: Duration,
        on_failure: OnFailure,
    ) -> Self {
        Self {
            queues,
            flood,
            clock,
            deadline,
            on_failure,
            unavailable: AtomicU64::new(0),
            aggregated: AtomicU64::new(0),
        }
    }

    /// Whether what is submitted to this trail now can be durable in time.
    fn is_available(&self, queue: &Queue) -> bool {
        queue
            .shared
            .is_available(self.clock.elapsed(), self.deadline)
    }

    #[cfg(test)]
    pub(super) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter()
    }

    fn stop(&self) {
        for queue in &self.queues {
            queue.shared.is_stopping.store(true, Ordering::SeqCst);
            queue.shared.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("trails", &self.0.queues.len())
            .finish_non_exhaustive()
    }
}

const BETWEEN_TRIES: Duration = Duration::from_millis(1);
