//! Wakes whoever reads or writes a connection when it must be cut.

#![expect(
    clippy::disallowed_types,
    reason = "locked when another task polls, and when the event comes; never for a byte"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// One direction of a connection; each may have a task of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Read,
    Write,
}

/// The event that cuts a connection, asked before each read and write. It is polled only when it was
/// woken, and wakes the tasks of both halves.
pub(super) struct Interrupt {
    /// `None` once the event has come.
    event: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    halves: Arc<Halves>,
    /// The waker of `halves`.
    waker: Waker,
    /// The wakers in `halves`.
    tasks: [Waker; 2],
}

struct Halves {
    is_woken: AtomicBool,
    tasks: Mutex<[Waker; 2]>,
}

impl Wake for Halves {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The flag first: a task that polls meanwhile sees it, or has left its waker here.
        self.is_woken.store(true, Ordering::Release);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = tasks.clone();
        tasks.into_iter().for_each(Waker::wake);
    }
}

impl Interrupt {
    pub(super) fn new(event: impl Future<Output = ()> + Send + 'static) -> Self {
        let nobody = || [Waker::noop().clone(), Waker::noop().clone()];
        let halves = Arc::new(Halves {
            is_woken: AtomicBool::new(true),
            tasks: Mutex::new(nobody()),
        });
        Self {
            event: Some(Box::pin(event)),
            waker: Arc::clone(&halves).into(),
            halves,
            tasks: nobody(),
        }
    }

    /// Ready from the event on.
    pub(super) fn poll(&mut self, half: Half, cx: &Context<'_>) -> Poll<()> {
        let Some(event) = &mut self.event else {
            return Poll::Ready(());
        };
        let [read, write] = &mut self.tasks;
        let (task, index) = match half {
            Half::Read => (read, 0),
            Half::Write => (write, 1),
        };
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
            let noted = self.halves.tasks.lock();
            let mut noted = noted.unwrap_or_else(PoisonError::into_inner);
            if let Some(noted) = noted.get_mut(index) {
                noted.clone_from(task);
            }
        }
        if !self.halves.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the poll: a call of the waker during it counts for the next one.
        self.halves.is_woken.swap(false, Ordering::AcqRel);
        let polled = event.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.event = None;
            // The other half may wait for its socket alone.
            self.halves.wake_by_ref();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn both_halves_learn_of_the_event_whoever_polled_last() {
        let (send, event) = oneshot::channel::<()>();
        let mut interrupt = Interrupt::new(async move { drop(event.await) });
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let [reader, writer] = tasks.clone().map(Waker::from);
        let (read, write) = (Context::from_waker(&reader), Context::from_waker(&writer));
        assert!(interrupt.poll(Half::Read, &read).is_pending());
        assert!(interrupt.poll(Half::Write, &write).is_pending());
        send.send(()).unwrap();
        for task in &tasks {
            assert_eq!(task.0.load(Ordering::Relaxed), 1);
        }
        assert!(interrupt.poll(Half::Write, &write).is_ready());
        assert!(interrupt.poll(Half::Read, &read).is_ready());
        assert!(interrupt.poll(Half::Read, &read).is_ready(), "it stays so");
    }
}
