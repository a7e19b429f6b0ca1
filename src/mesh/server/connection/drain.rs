use std::error::Error;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::state::ConnectionState;
use crate::error_chain::ErrorChain;
use crate::log_limit::limited;
use crate::tls::{CloseNotice, CloseReason, Connection, HandshakeStats, Lifetime};

/// When a connection should end, and how that is said on it.
pub(in crate::mesh) struct DrainController {
    pub(in crate::mesh) state: Arc<ConnectionState>,
    lifetime: Lifetime,
    stop: CancellationToken,
    tally: Arc<HandshakeStats>,
    /// Its end was counted; that there is a worse reason later is no second one.
    is_counted: bool,
    /// Where the requests are counted that are under way when the connection is cut.
    cut: Arc<AtomicUsize>,
}

/// What is left when HTTP has ended on a connection.
pub(in crate::mesh) enum AfterHttp {
    Nothing,
    /// An upgraded connection, which must be cut by then.
    Tunnel(Option<Instant>),
}

impl DrainController {
    pub(in crate::mesh) fn new(
        connection: &Connection,
        stop: CancellationToken,
        cut: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            state: Arc::new(ConnectionState::new(connection.peer().clone())),
            lifetime: connection.stream().lifetime(),
            stop,
            tally: Arc::clone(connection.stats()),
            is_counted: false,
            cut,
        }
    }

    /// Serves a connection to its end: its client's, that of its certificates, or ours. The last two let it finish what it is doing.
    pub(in crate::mesh) async fn serve<C>(&mut self, mut serving: Pin<&mut C>) -> AfterHttp
    where
        C: GracefulConnection<Error = Box<dyn Error + Send + Sync>>,
    {
        let state = &*self.state;
        let count = CountCut::new(state, &self.cut);
        // When an idle one goes and when all is over, once it is to end; and when even an upgraded one must be over.
        let [mut close, mut cut, mut last] = [None; 3];
        // Whether hyper was told to end it, and whether a shutdown asked for that.
        let (mut told, mut asked) = (false, false);
        loop {
            let next = if told { cut } else { close };
            let step = poll_fn(|cx| {
                let polled = serving.as_mut().poll(cx);
                // Before the preface was read hyper would drop the connection, and with it the request that comes behind.
                if polled.is_pending() && close.is_some() && !told && state.is_http2() {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                    return serving.as_mut().poll(cx);
                }
                polled
            });
            tokio::select! {
                ended = step => {
                    count.ended();
                    return match ended {
                        Ok(()) if state.tunnel().is_some() => AfterHttp::Tunnel(last),
                        Ok(()) => {
                            state.refuse_upgrade();
                            AfterHttp::Nothing
                        }
                        Err(error) => {
                            // What a client does to its own connection is the client's business, counted where it matters.
                            limited!(target: "tower_mesh::serve", DEBUG, error = %ErrorChain(&*error), "connection ended");
                            AfterHttp::Nothing
                        }
                    };
                }
                end = self.lifetime.ended() => {
                    state.end();
                    if !self.is_counted {
                        self.is_counted = true;
                        self.tally.count_ended(end.reason);
                    }
                    let time = Time::from_notice(&end);
                    (close, cut) = (sooner(close, time.close), sooner(cut, time.cut));
                    if !leaves_tunnels(end.reason) {
                        last = cut;
                    }
                }
                // Whoever drains them all cuts them all, and counts.
                () = self.stop.cancelled(), if !asked => {
                    asked = true;
                    state.end();
                    if state.begun() == 0 {
                        close = sooner(close, Instant::now() + FIRST_REQUEST);
                    } else if !told {
                        told = true;
                        serving.as_mut().graceful_shutdown();
                    }
                }
                () = reach(next) => {
                    if cut.is_some_and(|cut| Instant::now() >= cut) {
                        break;
                    }
                    if !told {
                        told = true;
                        serving.as_mut().graceful_shutdown();
                    }
                }
            }
        }
        self.tally.count_cut(state.open());
        count.ended();
        AfterHttp::Nothing
    }

    /// Watches over a connection that was upgraded, until whoever has it drops it. It is told nothing, as nobody knows what is spoken on it: age and
    /// rotations leave it, an identity that is no longer good and the end of a shutdown cut it.
    pub(in crate::mesh) async fn watch(self, mut last: Option<Instant>) {
        let Some(tunnel) = self.state.tunnel() else {
            return;
        };
        // Also when this is dropped, as at the end of a shutdown.
        let _cut = tunnel.cut.drop_guard_ref();
        let count = CountCut::new(&self.state, &self.cut);
        let mut lifetime = self.lifetime.while_good();
        loop {
            tokio::select! {
                () = tunnel.gone.cancelled() => return count.ended(),
                end = lifetime.ended() => {
                    if !self.is_counted {
                        self.tally.count_ended(end.reason);
                    }
                    last = Some(Time::from_notice(&end).cut);
                }
                () = reach(last) => break,
            }
        }
        self.tally.count_cut(self.state.open());
        count.ended();
    }
}

/// Whether both identities are as good as ever, so that what cannot be told to finish may go on.
fn leaves_tunnels(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Age | CloseReason::Rotated)
}

/// Counts, when dropped, the requests that are then under way, unless the connection has ended by itself.
struct CountCut<'a> {
    state: &'a ConnectionState,
    cut: &'a AtomicUsize,
    has_ended: bool,
}

impl<'a> CountCut<'a> {
    fn new(state: &'a ConnectionState, cut: &'a AtomicUsize) -> Self {
        Self {
            state,
            cut,
            has_ended: false,
        }
    }

    fn ended(mut self) {
        self.has_ended = true;
    }
}

impl Drop for CountCut<'_> {
    fn drop(&mut self) {
        // A handler that panics ends its connection by itself.
        if !self.has_ended && !std::thread::panicking() {
            self.cut.fetch_add(self.state.open(), Ordering::Relaxed);
        }
    }
}

/// What a connection that ends may still take.
struct Time {
    /// An HTTP/1 connection goes with its next response. One that is idle then goes; what has begun by then has the rest.
    close: Instant,
    cut: Instant,
}

impl Time {
    fn from_notice(end: &CloseNotice) -> Self {
        limited!(target: "tower_mesh::serve", DEBUG, reason = %end.reason, "draining a connection");
        let cut = Instant::now() + end.grace;
        Self {
            close: cut - LAST_RESPONSE.min(end.grace / 4),
            cut,
        }
    }
}

fn sooner(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

async fn reach(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// For a client that has just connected and is about to ask.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// For the response that was under way when an HTTP/1 connection had to go.
const LAST_RESPONSE: Duration = Duration::from_secs(5);
