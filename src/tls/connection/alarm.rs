//! Time limits that are renewed with every request, without a new timer each time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::tls::jitter::FOREVER;

/// The time that somebody may take for one thing after the other. It runs from the first
/// [`poll`](Self::poll) for a thing, and anew after each [`renew`](Self::renew).
#[derive(Debug, Default)]
pub(crate) struct TimeLimit {
    /// When the thing must be there; `None` until it is waited for.
    until: Option<Instant>,
    alarm: Alarm,
}

impl TimeLimit {
    /// Runs from now.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn from_now(time: Duration) -> Self {
        Self {
            until: Some(after(time)),
            alarm: Alarm::default(),
        }
    }

    pub(crate) fn renew(&mut self) {
        self.until = None;
    }

    /// Ready when the thing has taken this time.
    pub(crate) fn poll(&mut self, time: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.until.get_or_insert_with(|| after(time));
        self.alarm.poll(until, cx)
    }

    /// Nothing has to be there now. The task is woken within this time, though, so that it looks
    /// again; this reads no clock until then.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn look_again(&mut self, time: Duration, cx: &mut Context<'_>) {
        self.renew();
        self.alarm.wake_within(time, cx);
    }

    /// Passes on the result of a write, flush or shutdown, and is ready with an error when the
    /// other end has taken nothing for this time.
    pub(crate) fn of_write<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        time: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.renew();
            return polled;
        }
        ready!(self.poll(time, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn after(time: Duration) -> Instant {
    Instant::now() + time.min(FOREVER)
}

/// A timer whose deadline mostly moves further away, as it does with every request.
///
/// A later deadline does not touch the runtime's timer. That one fires too early, and only then is
/// set for the deadline of that moment. So a connection that is in use sets a timer every now and
/// then, and not for every request.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Wakes the task at the deadline that is set, or after this time if none is.
    #[cfg(all(feature = "server", feature = "client"))]
    fn wake_within(&mut self, time: Duration, cx: &mut Context<'_>) {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(after(time))));
        if sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(after(time));
            let _ = sleep.as_mut().poll(cx);
        }
    }

    /// Ready once this deadline has passed; otherwise the task is woken at the latest then.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn rings_after(alarm: &mut Alarm, deadline: Instant) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| alarm.poll(deadline, cx)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_that_was_asked_for_last() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let mut alarm = Alarm::default();
        let later = poll_fn(|cx| Poll::Ready(alarm.poll(now + 60 * second, cx))).await;
        assert!(later.is_pending());
        // Further away: the timer fires in between, and that does not count.
        assert_eq!(
            rings_after(&mut alarm, now + 90 * second).await,
            90 * second
        );
        let over = poll_fn(|cx| Poll::Ready(alarm.poll(now + 90 * second, cx))).await;
        assert!(over.is_ready(), "it is still over");
        assert_eq!(
            rings_after(&mut alarm, now + 100 * second).await,
            10 * second
        );
        // Closer.
        let later = poll_fn(|cx| Poll::Ready(alarm.poll(now + 200 * second, cx))).await;
        assert!(later.is_pending());
        assert_eq!(rings_after(&mut alarm, now + 101 * second).await, second);
    }
}
