//! When a connection takes no more calls and leaves its pool.
//!
//! A connection is *retired* because of its age or an identity on it: `tls/connection/lifetime.rs`
//! judges that, and [`stream`](super::stream) notes it in [`Retired`]. Here the pool learns of it.
//! A connection without calls is judged here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::context::Peer;
use crate::message::CalledServer;

/// Whether a connection takes no more requests, because of its age or because an identity on it was
/// replaced or expired.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Retired(AtomicBool);

impl Retired {
    pub(in crate::mesh) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(in crate::mesh) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a pool knows about one connection. The pool's entry and the connection's task share it.
#[derive(Debug)]
pub(in crate::mesh) struct ConnectionFacts {
    /// The server that answers; `None` if its address cannot be read.
    pub(in crate::mesh) server: Option<Arc<CalledServer>>,
    /// The generation of our identity that the connection was made with.
    generation: u64,
    retired: Arc<Retired>,
    /// How many checks the connection's task has made since the last call.
    looks: AtomicU32,
}

impl ConnectionFacts {
    pub(super) fn new(
        server: Option<CalledServer>,
        generation: u64,
        retired: Arc<Retired>,
    ) -> Self {
        Self {
            server: server.map(Arc::new),
            generation,
            retired,
            looks: AtomicU32::new(0),
        }
    }

    /// The peer that answers; `None` outside the mesh.
    pub(in crate::mesh) fn peer(&self) -> Option<&Peer> {
        self.server.as_ref()?.peer.as_ref()
    }

    /// Whether a new call may use the connection: it is not retired, and it presents our current
    /// identity.
    pub(super) fn takes_calls(&self, generation: u64) -> bool {
        self.generation == generation && !self.retired.is_set()
    }

    /// Records that a call has used the connection.
    pub(super) fn touch(&self) {
        // Most calls follow soon after another call. Reading first keeps the cache line shared
        // between processors.
        if self.looks.load(Ordering::Relaxed) != 0 {
            self.looks.store(0, Ordering::Relaxed);
        }
    }

    /// Runs the connection to its end. `forget` removes it from its pool when it is retired, when
    /// no call has used it for [`IDLE_TIMEOUT`], and when it has ended. The pool then holds no
    /// sender, so the connection closes after its current calls.
    pub(super) async fn run(
        &self,
        connection: impl Future<Output = ()>,
        is_busy: impl Fn() -> bool,
        forget: impl Fn(),
    ) {
        let mut connection = pin!(connection);
        let mut look = pin!(sleep(LOOK));
        let mut is_forgotten = false;
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut is_idle = false;
            while look.as_mut().poll(cx).is_ready() {
                look.as_mut().reset(Instant::now() + LOOK);
                if is_busy() {
                    self.touch();
                }
                is_idle = self.looks.fetch_add(1, Ordering::Relaxed) + 1 >= LOOKS;
            }
            if is_idle || (self.retired.is_set() && !is_forgotten) {
                is_forgotten = true;
                forget();
            }
            Poll::Pending
        })
        .await;
        forget();
    }
}

/// The time between two checks for use.
const LOOK: Duration = Duration::from_secs(10);
/// The number of checks without a call after which a connection is idle: [`IDLE_TIMEOUT`] in all.
const LOOKS: u32 = 5;
#[cfg(test)]
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_is_forgotten_in_time() {
        assert_eq!(LOOK * LOOKS, IDLE_TIMEOUT);
        let facts = ConnectionFacts::new(None, 0, Arc::default());
        let (forgotten, busy) = (Cell::new(0), Cell::new(true));
        let forget = || forgotten.set(forgotten.get() + 1);
        let running = facts.run(pending(), || busy.get(), forget);
        let mut running = pin!(running);
        let mut pass = async |seconds| {
            let time = sleep(Duration::from_secs(seconds));
            tokio::select! { biased; () = time => {}, () = running.as_mut() => {} }
            forgotten.get()
        };
        assert_eq!(pass(600).await, 0, "while a call is under way");
        busy.set(false);
        assert_eq!(pass(25).await, 0);
        facts.touch();
        assert_eq!(pass(41).await, 0);
        assert_eq!(pass(8).await, 1);
    }

    #[tokio::test]
    async fn one_that_is_retired_is_forgotten_at_once_and_takes_no_call() {
        let retired = Arc::new(Retired::default());
        let facts = ConnectionFacts::new(None, 7, Arc::clone(&retired));
        assert!(facts.takes_calls(7) && !facts.takes_calls(8));
        retired.set();
        assert!(!facts.takes_calls(7));
        let forgotten = Cell::new(false);
        let running = facts.run(pending(), || true, || forgotten.set(true));
        tokio::select! { biased; () = running => {}, () = std::future::ready(()) => {} }
        assert!(forgotten.get());
    }
}
