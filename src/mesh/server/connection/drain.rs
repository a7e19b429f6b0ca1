//! Ends a served connection: when it must drain, how the client learns of it, and when it is cut.
//!
//! # The drain loop
//!
//! [`DrainController::serve`] polls hyper's connection and waits for two events: the connection's
//! [`Lifetime`] sends a notice (its age, a rotation, a certificate that expires or is withdrawn),
//! or the server's shutdown cancels `stop`. A connection is *open*, then *ending* (an event has
//! come), then *draining* (`is_draining`: hyper's `graceful_shutdown` was called, which happens
//! once), then *over*. Three deadlines drive these steps; `close` and `cut` only ever move closer:
//!
//! - `close`: an ending connection starts to drain at this time at the latest. A notice sets it
//!   shortly before `cut`; a shutdown sets it to 500 ms from now for a connection without a
//!   request.
//! - `cut`: we drop the connection, with the requests on it. Only a notice sets it. At a shutdown,
//!   `serve.rs` aborts the task of each connection that is left when the grace period is over;
//!   [`CountCut`] then counts its requests.
//! - `last`: the same for an upgraded connection (a tunnel). Only a notice of an identity that is
//!   no longer good sets it: age and rotation leave tunnels alone.
//!
//! HTTP/2 drains as soon as the connection is ending and its preface is read: hyper sends GOAWAY,
//! and the open streams finish. HTTP/1 has no such frame: the connection's service adds
//! `connection: close` to the next response, and hyper closes the connection behind it. If no
//! response comes before `close`, the connection drains then: hyper closes it at once when it is
//! idle, else behind the response that is under way. A shutdown does not wait for `close` when the
//! connection has had a request: it drains at once, in both versions.

use std::error::Error;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::state::ConnectionState;
use crate::context::Ending;
use crate::error_chain::ErrorChain;
use crate::log_limit::limited;
use crate::tls::{CloseNotice, CloseReason, Connection, HandshakeStats, Lifetime, WhenWoken};

/// Decides when a connection ends, and announces the end to its client.
pub(in crate::mesh) struct DrainController {
    pub(in crate::mesh) state: Arc<ConnectionState>,
    lifetime: Lifetime,
    stop: CancellationToken,
    stats: Arc<HandshakeStats>,
    /// Whether its end was counted. A second, worse reason is not counted again.
    is_counted: bool,
    /// Counts the requests that are under way when a shutdown cuts the connection.
    cut: Arc<AtomicUsize>,
}

/// What is left of a connection when HTTP has ended on it.
pub(in crate::mesh) enum AfterHttp {
    Nothing,
    /// An upgraded connection, and when it must be cut.
    Tunnel(Option<Instant>),
    /// hyper has refused a head of HTTP/1 with this status, so that no service got the request.
    Refused(StatusCode),
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
            stats: Arc::clone(connection.stats()),
            is_counted: false,
            cut,
        }
    }

    /// Serves a connection until its client ends it, until it has drained, or until it is cut: see
    /// the drain loop in the module's documentation.
    pub(in crate::mesh) async fn serve<C>(&mut self, mut serving: Pin<&mut C>) -> AfterHttp
    where
        C: GracefulConnection<Error = Box<dyn Error + Send + Sync>>,
    {
        let state = &*self.state;
        let count = CountCut::new(state, &self.cut);
        // The three deadlines of the drain loop.
        let [mut close, mut cut, mut last] = [None; 3];
        // Whether hyper's graceful shutdown was called, and whether the server is shutting down.
        let (mut is_draining, mut is_shutdown) = (false, false);
        loop {
            let next = if is_draining { cut } else { close };
            let step = poll_fn(|cx| {
                let polled = serving.as_mut().poll(cx);
                // Not before the preface is read: hyper would drop the connection, and lose the
                // request that follows the preface.
                if polled.is_pending() && close.is_some() && !is_draining && state.is_http2() {
                    is_draining = true;
                    serving.as_mut().graceful_shutdown();
                    return serving.as_mut().poll(cx);
                }
                polled
            });
            let event = {
                // These are rare, so the requests on the connection must not pay for asking them.
                let rare = pin!(async {
                    tokio::select! {
                        end = self.lifetime.ended() => Event::Ends(end),
                        // No `cut` here: the server that drains all connections aborts this task,
                        // and counts.
                        () = self.stop.cancelled(), if !is_shutdown => Event::Shutdown,
                        () = reach(next) => Event::Reached,
                    }
                });
                tokio::select! {
                    biased;
                    // First, because a client may give hyper so much to do that tokio makes
                    // whatever is asked behind it wait, time and again.
                    event = WhenWoken::new(rare) => event,
                    ended = step => {
                        count.ended();
                        return after(ended, state, last);
                    }
                }
            };
            match event {
                Event::Ends(end) => {
                    state.end();
                    if !self.is_counted {
                        self.is_counted = true;
                        self.stats.count_ended(end.reason);
                    }
                    let time = Time::from_notice(&end);
                    (close, cut) = (sooner(close, time.close), sooner(cut, time.cut));
                    if !leaves_tunnels(end.reason) {
                        last = cut;
                    }
                }
                Event::Shutdown => {
                    is_shutdown = true;
                    state.end();
                    if state.begun() == 0 {
                        close = sooner(close, Instant::now() + FIRST_REQUEST);
                    } else if !is_draining {
                        is_draining = true;
                        serving.as_mut().graceful_shutdown();
                    }
                }
                Event::Reached => {
                    if cut.is_some_and(|cut| Instant::now() >= cut) {
                        state.ends(Ending::Aged);
                        break;
                    }
                    if !is_draining {
                        is_draining = true;
                        serving.as_mut().graceful_shutdown();
                    }
                }
            }
        }
        self.stats.count_cut(state.open());
        count.ended();
        AfterHttp::Nothing
    }

    /// Watches an upgraded connection until the application drops it.
    ///
    /// The connection gets no notice, as we do not know the protocol on it. Age and rotations leave
    /// it open; the end of either identity and the end of a shutdown cut it.
    pub(in crate::mesh) async fn watch(self, mut last: Option<Instant>) {
        let Some(tunnel) = self.state.tunnel() else {
            return;
        };
        // The guard cuts the connection also when this future is dropped, as at the end of a
        // shutdown.
        let _cut = tunnel.cut.drop_guard_ref();
        let count = CountCut::new(&self.state, &self.cut);
        let mut lifetime = self.lifetime.while_good();
        loop {
            tokio::select! {
                () = tunnel.gone.cancelled() => return count.ended(),
                end = lifetime.ended() => {
                    if !self.is_counted {
                        self.stats.count_ended(end.reason);
                    }
                    last = Some(Time::from_notice(&end).cut);
                }
                () = reach(last) => break,
            }
        }
        self.state.ends(Ending::Aged);
        self.stats.count_cut(self.state.open());
        count.ended();
    }
}

/// What can happen to a connection from outside.
enum Event {
    Ends(CloseNotice),
    Shutdown,
    /// The next of its deadlines.
    Reached,
}

/// HTTP has ended on a connection.
fn after(
    ended: Result<(), Box<dyn Error + Send + Sync>>,
    state: &ConnectionState,
    last: Option<Instant>,
) -> AfterHttp {
    match ended {
        Ok(()) if state.tunnel().is_some() => return AfterHttp::Tunnel(last),
        Ok(()) => state.refuse_upgrade(),
        Err(error) => {
            // A client may break its own connection as it likes; the places that care count it.
            let shown = ErrorChain(&*error);
            limited!(target: "tower_mesh::serve", DEBUG, error = %shown, "connection ended");
            let error = error.downcast_ref();
            state.ends(match error {
                Some(error) if is_of_protocol(error) => Ending::Broken,
                _ => Ending::Left,
            });
            // A request that has begun leaves a record of its own.
            let refused = error.and_then(refused).filter(|_| state.open() == 0);
            if let Some(status) = refused {
                return AfterHttp::Refused(status);
            }
        }
    }
    AfterHttp::Nothing
}

/// Whether the client broke HTTP.
fn is_of_protocol(error: &hyper::Error) -> bool {
    let of_http2 = error.source().and_then(|source| source.downcast_ref());
    error.is_parse()
        || of_http2.is_some_and(|error: &h2::Error| !error.is_io() && !error.is_remote())
}

/// How hyper answers a head of HTTP/1 that it cannot read; `None` if it answers nothing.
fn refused(error: &hyper::Error) -> Option<StatusCode> {
    if error.is_parse_version_h2() || !error.is_parse() {
        return None;
    }
    Some(match error.is_parse_too_large() {
        true if error.to_string().starts_with("URI") => StatusCode::URI_TOO_LONG,
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    })
}

/// Whether both identities are still good, so that an upgraded connection may go on.
fn leaves_tunnels(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Age | CloseReason::Rotated)
}

/// Counts, when dropped, the requests that are then under way. [`ended`](Self::ended) disarms it.
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
        // A panic of a handler ends the connection, and is no cut.
        if !self.has_ended && !std::thread::panicking() {
            // Of a tunnel, what the client does says nothing of how it ends; that we cut it does.
            self.state.ends(match self.state.tunnel() {
                Some(_) => Ending::Aged,
                None => Ending::Left,
            });
            self.cut.fetch_add(self.state.open(), Ordering::Relaxed);
        }
    }
}

/// The deadlines that follow from a notice.
struct Time {
    /// Until then an HTTP/1 connection ends with its next response. At this time an idle one is
    /// closed; requests that have begun get the rest of the grace period.
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

/// A connection that has not sent a request yet gets this long to send one.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// A response that is under way on HTTP/1 at `close` gets at most this long.
const LAST_RESPONSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;
    use std::io;
    use std::task::{Context, Poll};

    use http::Response;
    use hyper::body::Incoming;
    use hyper::rt::ReadBufCursor;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use hyper_util::server::conn::auto::Builder;

    use super::*;
    use crate::context::Peer;
    use crate::tls::Stream;

    /// Bytes of a client that always has more to do than one poll may do.
    struct Busy {
        polls: u32,
    }

    impl hyper::rt::Read for Busy {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            self.polls += 1;
            assert!(self.polls < 1_000, "the event is never looked at");
            while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            Poll::Pending
        }
    }

    impl hyper::rt::Write for Busy {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_busy_client_does_not_hide_what_ends_its_connection() {
        let address = "192.0.2.1:1".parse().unwrap();
        let peer = Peer::plaintext(address, address);
        let state = Arc::new(ConnectionState::new(peer));
        // A connection without a request would get some time for its first one.
        state.begin();
        let stop = CancellationToken::new();
        let mut controller = DrainController {
            state,
            lifetime: Stream::unprotected(tokio::io::empty()).lifetime(),
            stop: stop.clone(),
            stats: Arc::default(),
            is_counted: false,
            cut: Arc::default(),
        };
        let builder = Builder::new(TokioExecutor::new());
        let service = service_fn(async |_: http::Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let connection = builder.serve_connection(Busy { polls: 0 }, service);
        let mut connection = pin!(connection);
        let serving = controller.serve(connection.as_mut());
        let (after, ()) = tokio::join!(serving, async { stop.cancel() });
        assert!(matches!(after, AfterHttp::Nothing));
    }
}
