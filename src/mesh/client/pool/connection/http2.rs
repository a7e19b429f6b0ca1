//! Shares HTTP/2 connections among calls.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{Notify, watch};

use super::super::connect_error::NoConnection;
use super::origin::Origin;
use super::retirement::ConnectionFacts;
use super::stream::MeshStream;
use crate::mesh::ClientBody;

/// The HTTP/2 connections to one endpoint. All calls share one; another one is made when the server
/// allows no more streams on the open ones.
///
/// A separate task makes each connection, on behalf of all calls that wait for it. A call that
/// gives up does not affect the others, and a failure reaches each of them with its cause.
#[derive(Debug, Default)]
pub(in crate::mesh) struct SharedConnections(ArcSwap<State>);

#[derive(Clone, Debug, Default)]
struct State {
    open: Vec<Arc<Http2>>,
    /// The connection that is being made, with this generation of our identity; at most one at a
    /// time.
    making: Option<(u64, Making)>,
}

/// The result of a connection that is being made; `None` until it is known.
type Making = watch::Receiver<Option<Result<Arc<Http2>, NoConnection>>>;

/// A connection that calls share.
pub(in crate::mesh) struct Http2 {
    sender: http2::SendRequest<ClientBody>,
    pub(in crate::mesh) facts: Arc<ConnectionFacts>,
    streams: Arc<Streams>,
}

/// How many streams a connection has, and how many the server allows.
#[derive(Debug)]
struct Streams {
    active: AtomicUsize,
    limit: AtomicUsize,
    /// Whether the first response has arrived. The server's limit arrives before it.
    is_answered: AtomicBool,
    answered: Notify,
}

/// A call's stream on a connection. It is released when the response has ended or is dropped.
#[derive(Debug)]
pub(in crate::mesh) struct StreamGuard(Arc<Streams>);

/// A connection for one call.
pub(in crate::mesh) struct Joined {
    pub(in crate::mesh) connection: Arc<Http2>,
    pub(in crate::mesh) stream: StreamGuard,
    pub(in crate::mesh) origin: Origin,
}

impl SharedConnections {
    /// Returns a connection with room for one more stream; calls `connect` if there is none.
    ///
    /// `connect` makes a connection and [begins](Self::begin) HTTP/2 on it. It is called at most
    /// once for each connection that this call has to make.
    pub(in crate::mesh) async fn join<F>(
        self: &Arc<Self>,
        generation: u64,
        connect: impl Fn() -> F,
    ) -> Result<Joined, NoConnection>
    where
        F: Future<Output = Result<Arc<Http2>, NoConnection>> + Send + 'static,
    {
        let mut abandoned = 0;
        loop {
            let (mut making, origin) = match self.find(generation) {
                Found::Room(joined) => return Ok(joined),
                Found::Making(making) => (making, Origin::OtherDial),
                Found::None(state) => {
                    let Some(making) = self.make(&state, generation, &connect) else {
                        // Another call changed the state first.
                        continue;
                    };
                    (making, Origin::OwnDial)
                }
            };
            let made = making.wait_for(Option::is_some).await;
            let made = made.ok().and_then(|made| made.clone());
            match made {
                Some(Ok(connection)) => {
                    if let Some(stream) = connection.streams.enter() {
                        return Ok(Joined {
                            connection,
                            stream,
                            origin,
                        });
                    }
                }
                Some(Err(error)) => return Err(error),
                // The runtime of its task has shut down.
                None => {
                    self.update(|state| {
                        state
                            .making
                            .take_if(|(_, other)| other.same_channel(&making));
                    });
                    abandoned += 1;
                    if abandoned > MOST_ABANDONED {
                        return Err(NoConnection::Abandoned);
                    }
                }
            }
        }
    }

    fn find(&self, generation: u64) -> Found {
        let state = self.0.load();
        let usable = || {
            let open = state.open.iter();
            open.filter(|connection| connection.takes_calls(generation))
        };
        let joined = |connection: &Arc<Http2>, stream| Joined {
            connection: Arc::clone(connection),
            stream,
            origin: Origin::Pool,
        };
        for connection in usable() {
            if let Some(stream) = connection.streams.enter() {
                return Found::Room(joined(connection, stream));
            }
        }
        // One that is made with another identity of ours is not waited for.
        if let Some((_, making)) = state.making.as_ref().filter(|(of, _)| *of == generation) {
            return Found::Making(making.clone());
        }
        // All connections are full and one more would exceed the limit, so hyper makes the call
        // wait for a stream.
        let least = usable().min_by_key(|connection| connection.streams.active());
        if let Some(least) = least
            && usable().count() >= MOST_OPEN
        {
            return Found::Room(joined(least, least.streams.enter_anyway()));
        }
        Found::None(arc_swap::Guard::into_inner(state))
    }

    /// Whether a call would find an open connection.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(in crate::mesh) fn has_room(&self, generation: u64) -> bool {
        matches!(self.find(generation), Found::Room(_))
    }

    /// Makes a connection that no call waits for, also if there is one with room; but not while
    /// another one is being made.
    pub(in crate::mesh) fn make_another<F>(
        self: &Arc<Self>,
        generation: u64,
        connect: impl Fn() -> F,
    ) where
        F: Future<Output = Result<Arc<Http2>, NoConnection>> + Send + 'static,
    {
        loop {
            let state = self.0.load_full();
            // The runtime that was to make it may be gone.
            let is_alive = |making: &Making| making.has_changed().is_ok();
            let is_made = matches!(&state.making, Some((of, making)) if *of == generation && is_alive(making));
            if is_made || self.make(&state, generation, &connect).is_some() {
                return;
            }
        }
    }

    /// Starts to make a connection, unless the state has changed since it was read.
    fn make<F>(
        self: &Arc<Self>,
        before: &Arc<State>,
        generation: u64,
        connect: impl Fn() -> F,
    ) -> Option<Making>
    where
        F: Future<Output = Result<Arc<Http2>, NoConnection>> + Send + 'static,
    {
        let (tell, making) = watch::channel(None);
        let open = before.open.iter();
        let open = open.filter(|connection| connection.takes_calls(generation));
        let next = State {
            open: open.cloned().collect(),
            making: Some((generation, making.clone())),
        };
        let was = self.0.compare_and_swap(before, Arc::new(next));
        if !Arc::ptr_eq(&was, before) {
            return None;
        }
        let (pool, connecting, own) = (Arc::clone(self), connect(), making.clone());
        TokioExecutor::new().execute(async move {
            let made = connecting.await;
            pool.update(|state| {
                state.making.take_if(|(_, other)| other.same_channel(&own));
                if let Ok(connection) = &made {
                    state.open.push(Arc::clone(connection));
                }
            });
            // All waiting calls may have given up.
            let _ = tell.send(Some(made));
        });
        Some(making)
    }

    /// Starts HTTP/2 on a connection and spawns its task.
    pub(in crate::mesh) async fn begin(
        self: &Arc<Self>,
        stream: MeshStream,
        generation: u64,
    ) -> Result<Arc<Http2>, NoConnection> {
        let facts = stream.facts(generation, Version::HTTP_2);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(stream)
            .await?;
        let streams = Arc::new(Streams {
            active: AtomicUsize::new(0),
            limit: AtomicUsize::new(connection.current_max_send_streams()),
            is_answered: AtomicBool::new(false),
            answered: Notify::new(),
        });
        let (pool, own) = (Arc::downgrade(self), Arc::clone(&facts));
        let counted = Arc::clone(&streams);
        TokioExecutor::new().execute(async move {
            let connection = async {
                let mut connection = pin!(connection);
                let mut answered = Some(Box::pin(counted.answered.notified()));
                // The current calls get the error; the task need not report it.
                let _ = poll_fn(|cx| {
                    // The first response wakes this future, so that it reads the server's limit.
                    // Later only requests wake it, because hyper reads in a task of its own.
                    answered.take_if(|answered| answered.as_mut().poll(cx).is_ready());
                    let polled = connection.as_mut().poll(cx);
                    let limit = connection.current_max_send_streams();
                    counted.limit.store(limit, Ordering::Relaxed);
                    polled
                })
                .await;
            };
            let forget = || {
                if let Some(pool) = pool.upgrade() {
                    pool.forget(&own);
                }
            };
            own.run(connection, || counted.active() > 0, forget).await;
        });
        Ok(Arc::new(Http2 {
            sender,
            facts,
            streams,
        }))
    }

    fn forget(&self, facts: &Arc<ConnectionFacts>) {
        let is_it = |connection: &Arc<Http2>| Arc::ptr_eq(&connection.facts, facts);
        if self.0.load().open.iter().any(is_it) {
            self.update(|state| state.open.retain(|connection| !is_it(connection)));
        }
    }

    fn update(&self, change: impl Fn(&mut State)) {
        self.0.rcu(|state| {
            let mut next = State::clone(state);
            change(&mut next);
            next
        });
    }
}

enum Found {
    Room(Joined),
    Making(Making),
    None(Arc<State>),
}

impl Http2 {
    fn takes_calls(&self, generation: u64) -> bool {
        !self.sender.is_closed() && self.facts.takes_calls(generation)
    }

    pub(in crate::mesh) async fn send(
        &self,
        request: Request<ClientBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<ClientBody>>> {
        self.facts.touch();
        let mut sender = self.sender.clone();
        let sent = sender.try_send_request(request).await;
        let is_answered = &self.streams.is_answered;
        if !is_answered.load(Ordering::Relaxed) && !is_answered.swap(true, Ordering::Relaxed) {
            self.streams.answered.notify_one();
        }
        sent
    }
}

impl Streams {
    fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Takes a stream, if there is room for one.
    fn enter(self: &Arc<Self>) -> Option<StreamGuard> {
        let limit = self.limit.load(Ordering::Relaxed);
        // Looks and counts in one step: of several calls that want the last place, one gets it.
        let take = |active: usize| (active < limit).then_some(active + 1);
        let taken = self
            .active
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok().then(|| StreamGuard(Arc::clone(self)))
    }

    fn enter_anyway(self: &Arc<Self>) -> StreamGuard {
        self.active.fetch_add(1, Ordering::Relaxed);
        StreamGuard(Arc::clone(self))
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// The time between two pings, and the longest wait for an answer to one.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The largest number of connections to one endpoint.
const MOST_OPEN: usize = 16;
/// How often one call may see a runtime shut down before its connection is made.
const MOST_ABANDONED: u32 = 3;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn of_two_calls_that_want_the_last_stream_one_gets_it() {
        let streams = Arc::new(Streams {
            active: AtomicUsize::new(0),
            limit: AtomicUsize::new(1),
            is_answered: AtomicBool::new(false),
            answered: Notify::new(),
        });
        let barrier = Arc::new(Barrier::new(2));
        let call = || {
            let (streams, barrier) = (Arc::clone(&streams), Arc::clone(&barrier));
            thread::spawn(move || {
                let round = |_| {
                    barrier.wait();
                    let stream = streams.enter();
                    barrier.wait();
                    stream.is_some()
                };
                (0..ROUNDS).map(round).collect::<Vec<_>>()
            })
        };
        let (one, two) = (call(), call());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert!(one.iter().zip(&two).all(|(one, two)| one != two));
        assert_eq!(streams.active(), 0);
    }

    const ROUNDS: usize = 1_000;
}
