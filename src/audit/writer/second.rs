//! The thread that gives checkpoints to the second place, so that no record waits for it.

#![expect(
    clippy::disallowed_types,
    reason = "only the threads of a trail and of its second place lock, and neither while it works"
)]

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::place::contained;
use super::queue::Shared;
use super::settings::{AGAIN, SecondPlace, TARGET};
use crate::audit::proof::Checkpoint;

/// The end of the trail. When it is dropped, the thread gives what is left, and ends.
#[derive(Debug)]
pub(super) struct Second(Arc<Notes>);

/// Says that the thread has ended.
struct Giving(Arc<Shared>);

#[derive(Debug, Default)]
struct Notes {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<Checkpoint>,
    is_closed: bool,
}

impl Second {
    /// Starts the thread, with the checkpoint that the process before may not have given.
    pub(super) fn start(
        place: SecondPlace,
        last: Option<Checkpoint>,
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        let notes = Arc::new(Notes::default());
        notes.lock().notes.extend(last);
        let second = Self(Arc::clone(&notes));
        shared.is_giving.store(true, Ordering::SeqCst);
        let giving = Giving(Arc::clone(shared));
        let thread = thread::Builder::new().name("audit-notes".to_owned());
        thread.spawn(move || notes.run(place, &giving.0))?;
        Ok(second)
    }

    /// Hands a checkpoint over. Never waits: of those that wait too long, the oldest is let go, which
    /// a later one covers. Returns whether there was room.
    pub(super) fn give(&self, note: Checkpoint) -> bool {
        let mut waiting = self.0.lock();
        let has_room = waiting.notes.len() < MOST_WAITING;
        if !has_room {
            waiting.notes.pop_front();
        }
        waiting.notes.push_back(note);
        self.0.changed.notify_one();
        has_room
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.0.is_giving.store(false, Ordering::SeqCst);
    }
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives one after the other. One that was refused is given again, until a later one was taken.
    fn run(&self, mut place: SecondPlace, shared: &Shared) {
        let mut refused = None;
        loop {
            let (next, is_closed) = self.next(refused.is_some());
            let before = refused.take();
            let Some(note) = next.or(before) else {
                return;
            };
            if let Some(Ok(())) = contained(|| place(&note)) {
                continue;
            }
            tracing::error!(target: TARGET, "the second place did not take a checkpoint");
            shared.counters.checkpoint_failures.add(1);
            if is_closed {
                // Of those that are left each has its turn.
                continue;
            }
            refused = Some(note);
        }
    }

    /// The next checkpoint, and whether no more will come. Waits for it: not for long if there is one
    /// to be given again.
    fn next(&self, has_refused: bool) -> (Option<Checkpoint>, bool) {
        let mut waiting = self.lock();
        if waiting.notes.is_empty() && !waiting.is_closed {
            let is_idle = |waiting: &mut Waiting| waiting.notes.is_empty() && !waiting.is_closed;
            let changed = &self.changed;
            waiting = match has_refused {
                true => {
                    let timed = changed.wait_timeout_while(waiting, AGAIN, is_idle);
                    timed.unwrap_or_else(PoisonError::into_inner).0
                }
                false => {
                    let woken = changed.wait_while(waiting, is_idle);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        (waiting.notes.pop_front(), waiting.is_closed)
    }
}

const MOST_WAITING: usize = 64;
