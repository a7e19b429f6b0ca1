use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::tls::reason::{Reason, Refusal};

/// One connection of a client that has said nothing, or half a hello, until this is dropped: one of its source's, that may take its time
/// while there is room for others.
#[derive(Debug)]
pub(in crate::tls) struct Silent {
    /// Where it counts; of a load balancer nowhere.
    counted: Option<Counted>,
    room: Room,
    begun: Instant,
    /// Looks at the room again.
    look: Option<Pin<Box<Sleep>>>,
}

/// The connections that may be open at once, and how many that is.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Room {
    pub(in crate::tls) open: Arc<Semaphore>,
    pub(in crate::tls) most: usize,
}

impl Room {
    /// How long a client may be silent, once fewer than half of the places are free: the shorter, the fewer there are.
    fn patience(&self) -> Option<Duration> {
        let free = self.open.available_permits().saturating_mul(2);
        let share = (free < self.most).then(|| free as f64 / self.most as f64)?;
        Some(LONGEST.mul_f64(share).max(SHORTEST))
    }
}

/// One among the silent connections of a source.
#[derive(Debug)]
pub(in crate::tls) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more, unless there are so many already.
    pub(in crate::tls) fn among(silent: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let counted = Self(Arc::clone(silent));
        // One too many takes itself back as it is dropped.
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

    /// Ready when others need its room.
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

/// Waits for what a client says, while it may be silent.
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
/// With none: what a client far away needs on a bad line.
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
