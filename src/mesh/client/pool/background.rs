//! Connection attempts that go on when the call that began them no longer waits for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The connection attempts to one endpoint that no call waits for.
///
/// They go on so that their results are known: a call that gives up early still shows that the
/// address does not answer, and a connection that comes too late for its call serves another one.
#[derive(Clone, Debug)]
pub(super) struct Background(Arc<Semaphore>);

impl Default for Background {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Background {
    /// A connection attempt that the caller waits for. When it is dropped before it has ended, it goes on in
    /// a task of its own, and `unclaimed` gets its result. If [`MOST`] others do so already, it is
    /// cancelled instead.
    pub(super) fn dial<T: 'static>(
        &self,
        attempt: impl Future<Output = T> + Send + 'static,
        unclaimed: impl FnOnce(T) + Send + 'static,
    ) -> Dialing<T> {
        Dialing {
            background: self.clone(),
            // A drop may happen outside of the runtime.
            runtime: Handle::current(),
            work: Some((Box::pin(attempt), Box::new(unclaimed))),
        }
    }
}

/// A connection attempt that a call waits for.
pub(super) struct Dialing<T: 'static> {
    background: Background,
    runtime: Handle,
    /// `None` once it has ended.
    work: Option<(Running<T>, Unclaimed<T>)>,
}

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Unclaimed<T> = Box<dyn FnOnce(T) + Send>;

impl<T> Future for Dialing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some((attempt, _)) = &mut self.work else {
            return Poll::Pending;
        };
        let result = ready!(attempt.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(result)
    }
}

impl<T> Drop for Dialing<T> {
    fn drop(&mut self) {
        let place = Arc::clone(&self.background.0).try_acquire_owned();
        if let (Some((attempt, unclaimed)), Ok(place)) = (self.work.take(), place) {
            self.runtime.spawn(async move {
                unclaimed(attempt.await);
                drop(place);
            });
        }
    }
}

/// The largest number of attempts to one endpoint that no call waits for.
const MOST: usize = 64;
