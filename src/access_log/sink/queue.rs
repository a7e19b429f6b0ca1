//! The queue between requests and the thread that writes: bounded in lines and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::counts::Counts;

/// What the writer gets.
#[derive(Debug)]
pub(super) enum Message {
    Line(Box<[u8]>),
    /// All lines before this one are written when the answer comes.
    Flush(SyncSender<()>),
}

/// The end of the requests.
#[derive(Debug)]
pub(super) struct Queue {
    messages: SyncSender<Message>,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    pub(super) counts: Arc<Counts>,
}

/// The end of the writer.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) messages: Receiver<Message>,
    bytes: Arc<AtomicUsize>,
    pub(super) counts: Arc<Counts>,
}

pub(super) fn queue(most_lines: usize, most_bytes: usize) -> (Queue, Lines) {
    let (messages, received) = sync_channel(most_lines);
    let bytes = Arc::<AtomicUsize>::default();
    let counts = Arc::<Counts>::default();
    let lines = Lines {
        messages: received,
        bytes: Arc::clone(&bytes),
        counts: Arc::clone(&counts),
    };
    let queue = Queue {
        messages,
        bytes,
        most_bytes,
        counts,
    };
    (queue, lines)
}

impl Queue {
    /// Gives the writer a line, or drops it. Never waits.
    pub(super) fn send(&self, line: &[u8]) {
        let before = self.bytes.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = before.saturating_add(line.len()) <= self.most_bytes;
        let sent = has_room && self.messages.try_send(Message::Line(line.into())).is_ok();
        if !sent {
            self.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.counts.add_full();
        }
    }

    /// Waits until all lines before are written, or for this long.
    pub(super) fn flush(&self, most: Duration) -> bool {
        let deadline = Instant::now().checked_add(most);
        let left = || match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        let (answer, answered) = sync_channel(1);
        let mut message = Message::Flush(answer);
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if left().is_zero() => return false,
                Err(TrySendError::Full(back)) => {
                    message = back;
                    thread::sleep(left().min(BETWEEN_TRIES));
                }
            }
        }
        answered.recv_timeout(left()).is_ok()
    }
}

impl Lines {
    /// Makes room for what has been taken out.
    pub(super) fn taken(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

const BETWEEN_TRIES: Duration = Duration::from_millis(1);
