//! Resets an HTTP/2 stream whose client takes nothing of its response (security rule R-07).
//!
//! # Whose turn it is
//!
//! hyper runs each stream as a future of its own, through the executor [`StreamTimeout`], which
//! wraps it in a [`TimedStream`]. hyper owns the response body inside that future, and asks it for
//! the next frame when the client has opened its window. So the body knows who has to act, and only
//! the wrapper can reset the stream, but neither can reach the other through hyper. A thread-local
//! carries the answer:
//!
//! - `TimedStream::poll` sets it to [`Turn::Silent`] and polls hyper's future.
//! - Within that call, and so on the same thread, hyper may poll the body (`ConnectionBody`), which
//!   calls [`turn`]: `Clients` with each frame that it gives, `Ours` when it has no frame.
//! - `TimedStream::poll` reads it. `Clients` starts the timer anew, `Ours` stops it, `Silent` lets
//!   it run on. When the timer fires, the stream is dropped, which resets it.
//!
//! The value is valid only within one poll, so streams cannot see each other's, and it needs no
//! lock and no allocation. HTTP/1 does not use the executor: what its bodies set is not read.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;

use crate::context::drop_slow_stream;
use crate::tls::TimeLimit;

/// The executor of HTTP/2 streams, which resets a stream whose client takes nothing of the response
/// for `stalled`.
///
/// hyper has no such timer: a client that does not open its window keeps the stream, and all that
/// was read for it, for ever.
#[derive(Clone, Copy, Debug)]
pub(in crate::mesh) struct StreamTimeout {
    stalled: Duration,
}

impl StreamTimeout {
    pub(in crate::mesh) fn new(stalled: Duration) -> Self {
        Self { stalled }
    }
}

impl<F> hyper::rt::Executor<F> for StreamTimeout
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(TimedStream {
            stream: Some(stream),
            stalled: self.stalled,
            waits_for_client: false,
            limit: TimeLimit::default(),
        });
    }
}

/// Who has to act next on a stream, as its response body reported it during one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Turn {
    /// hyper did not poll the body.
    Silent,
    /// The body gave a frame; the client has to take it.
    Clients,
    /// The body was polled and has no frame yet, or has ended.
    Ours,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::Silent) };
}

/// Reports whose turn it is on the stream that this thread polls.
pub(in crate::mesh) fn turn(turn: Turn) {
    TURN.set(turn);
}

/// The future of one stream.
#[pin_project]
struct TimedStream<F> {
    /// `None` once it was reset.
    #[pin]
    stream: Option<F>,
    stalled: Duration,
    waits_for_client: bool,
    limit: TimeLimit,
}

impl<F: Future> Future for TimedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        turn(Turn::Silent);
        let Some(stream) = this.stream.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        if stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match TURN.get() {
            Turn::Silent => {}
            Turn::Clients => {
                *this.waits_for_client = true;
                this.limit.renew();
            }
            Turn::Ours => {
                *this.waits_for_client = false;
                this.limit.renew();
            }
        }
        if !*this.waits_for_client {
            return Poll::Pending;
        }
        ready!(this.limit.poll(*this.stalled, cx));
        // The drop resets it.
        drop_slow_stream(|| this.stream.set(None));
        Poll::Ready(())
    }
}
