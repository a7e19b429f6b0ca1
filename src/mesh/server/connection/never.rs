//! A timer for hyper that never fires.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// Takes the place of hyper's timer where [`IoTimeouts`](super::io::IoTimeouts) keeps the times. It
/// has no size, so that the box that hyper asks for allocates nothing, and reads no clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Never;

impl Timer for Never {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(*self)
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(*self)
    }

    /// Only deadlines are computed from it.
    fn now(&self) -> Instant {
        static SOME: LazyLock<Instant> = LazyLock::new(Instant::now);
        *SOME
    }
}

impl Sleep for Never {}

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
