use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose deadline mostly moves further away, as it does with every request.
///
/// A later deadline does not touch the runtime's timer. That one fires too early, and only then is
/// set for the deadline of that moment. So a connection that is in use sets a timer every now and
/// then, and not for every request.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once this deadline has passed; otherwise the task is woken at the latest then.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
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
