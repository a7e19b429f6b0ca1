//! How long a client may say nothing before its handshake.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::tls::reason::{Reason, Refusal};

/// A connection whose client has sent nothing, or only part of a hello. It counts for its source
/// until this is dropped. Its client has more time, the more room there is for other connections.
#[derive(Debug)]
pub(in crate::tls) struct Silent {
    /// The count of its source; `None` for a load balancer.
    counted: Option<Counted>,
    room: Room,
    begun: Instant,
    /// Wakes the connection to look at the room again.
    look: Option<Pin<Box<Sleep>>>,
}

/// The connections that may be open at once, and their number.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Room {
    pub(in crate::tls) open: Arc<Semaphore>,
    pub(in crate::tls) most: usize,
}

impl Room {
    /// How long a client may be silent when fewer than half of the places are free: the fewer are
    /// free, the shorter. `None` without a limit.
    fn patience(&self) -> Option<Duration> {
        let free = self.open.available_permits().saturating_mul(2);
        let share = (free < self.most).then(|| free as f64 / self.most as f64)?;
        Some(LONGEST.mul_f64(share).max(SHORTEST))
    }
}

/// One of the silent connections of a source.
#[derive(Debug)]
pub(in crate::tls) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Adds one, unless there are `most` already.
    pub(in crate::tls) fn among(silent: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let counted = Self(Arc::clone(silent));
        // If this is one too many, its drop subtracts it again.
        (silent.fetch_add(1, Ordering::Relaxed) < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Silent {
    pub(in crate::tls) fn new(counted: Option<Counted>, room: Room) -> Self {
        Self {
            counted,
            room,
            begun: Instant::now(),
            look: None,
        }
    }

    /// Ready when other connections need the room.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let patience = self.room.patience();
            if patience.is_some_and(|patience| self.begun.elapsed() >= patience) {
                self.counted = None;
                return Poll::Ready(());
            }
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(AGAIN)));
            ready!(look.as_mut().poll(cx));
            look.as_mut().reset(Instant::now() + AGAIN);
        }
    }
}

/// Waits for the client while it may be silent.
pub(in crate::tls) async fn in_silence<F: Future>(
    silent: &mut Option<Silent>,
    said: F,
) -> Result<F::Output, Refusal> {
    let mut said = pin!(said);
    poll_fn(|cx| {
        if let Poll::Ready(said) = said.as_mut().poll(cx) {
            return Poll::Ready(Ok(said));
        }
        match silent {
            Some(silent) => silent.poll_over(cx).map(|()| Err(Reason::Timeout.into())),
            None => Poll::Pending,
        }
    })
    .await
}

/// With half of the places free.
const LONGEST: Duration = Duration::from_secs(10);
/// With no place free: enough for a distant client on a bad line.
const SHORTEST: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewer_places_are_free_the_shorter_is_the_wait() {
        for (free, most, expected) in [
            (100, 100, None),
            (50, 100, None),
            (49, 100, Some(9800)),
            (25, 100, Some(5000)),
            (10, 100, Some(2000)),
            (0, 100, Some(2000)),
            (0, 1, Some(2000)),
            (1, 1, None),
        ] {
            let room = Room {
                open: Arc::new(Semaphore::new(free)),
                most,
            };
            let patience = room.patience().map(|patience| patience.as_millis());
            assert_eq!(patience, expected, "{free} of {most}");
        }
    }
}
