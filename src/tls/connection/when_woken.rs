//! Waits for what happens once in the life of a connection, at no cost to its requests.

#![expect(
    clippy::disallowed_types,
    reason = "locked when another task polls, and when the event comes; never for a request"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only when its own waker was called, and not whenever its task is.
///
/// A connection's task is woken for every request, while the events that end a connection come once
/// in its life. To ask all of them every time costs locks and timers; here it costs a look at a
/// flag.
pub(crate) struct WhenWoken<F> {
    future: F,
    note: Arc<Note>,
    /// The waker of `note`.
    waker: Waker,
    /// The waker of the task that polled last, also in `note`.
    task: Waker,
}

/// Notes that the future was woken, and wakes its task.
struct Note {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The flag first: a task that polls meanwhile sees it, or has left its waker here.
        self.is_woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.clone();
        task.wake();
    }
}

impl<F> WhenWoken<F> {
    pub(crate) fn new(future: F) -> Self {
        let note = Arc::new(Note {
            is_woken: AtomicBool::new(true),
            task: Mutex::new(Waker::noop().clone()),
        });
        Self {
            future,
            waker: Arc::clone(&note).into(),
            note,
            task: Waker::noop().clone(),
        }
    }
}

impl<F: Future + Unpin> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self {
            future,
            note,
            waker,
            task,
        } = &mut *self;
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
            let mut noted = note.task.lock().unwrap_or_else(PoisonError::into_inner);
            noted.clone_from(task);
        }
        if !note.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the poll: a call of the waker during it counts for the next one. A swap, so that
        // this poll sees what came before a call that it takes back.
        note.is_woken.swap(false, Ordering::AcqRel);
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl<F> fmt::Debug for WhenWoken<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhenWoken")
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

    /// A future that counts how often it was polled.
    fn counted(polls: &AtomicUsize, event: oneshot::Receiver<()>) -> impl Future<Output = ()> {
        let mut event = Box::pin(event);
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            event.as_mut().poll(cx).map(|_| ())
        })
    }

    #[test]
    fn it_is_polled_first_and_when_woken_and_wakes_the_last_task() {
        let (send, event) = oneshot::channel();
        let polls = AtomicUsize::new(0);
        let mut waiting = WhenWoken::new(counted(&polls, event));
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let [first, second] = tasks.clone().map(Waker::from);
        for waker in [&first, &first, &second, &second] {
            let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(waker));
            assert!(polled.is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1, "nothing has happened");
        send.send(()).unwrap();
        let woken = tasks.map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1], "the task that polled last is woken");
        let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&second));
        assert!(polled.is_ready());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
