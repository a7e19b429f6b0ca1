use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

/// Runs the streams of HTTP/2 connections, and resets one whose client takes nothing of what it asked for (security rule R-07).
///
/// hyper asks a body for its next piece once the client has room for more; a client that opens its window by nothing keeps the
/// stream and all that was read for it. The body says when it has handed over a piece and when it is asked again.
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
            stream,
            stalled: self.stalled,
            waits_for_client: false,
            limit: None,
        });
    }
}

/// What a response body tells of itself during a poll of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Turn {
    /// It was not asked.
    Silent,
    /// It handed over a piece; it is the client's turn.
    Clients,
    /// It was asked and has nothing yet, or nothing more.
    Ours,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::Silent) };
}

/// Says whose turn it is on the stream that is being polled.
pub(in crate::mesh) fn turn(turn: Turn) {
    TURN.set(turn);
}

/// The future of one stream.
#[pin_project]
struct TimedStream<F> {
    #[pin]
    stream: F,
    stalled: Duration,
    waits_for_client: bool,
    limit: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for TimedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        turn(Turn::Silent);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match TURN.get() {
            Turn::Silent => {}
            Turn::Clients => {
                *this.waits_for_client = true;
                *this.limit = None;
            }
            Turn::Ours => {
                *this.waits_for_client = false;
                *this.limit = None;
            }
        }
        if !*this.waits_for_client {
            return Poll::Pending;
        }
        let limit = this
            .limit
            .get_or_insert_with(|| Box::pin(sleep(*this.stalled)));
        // Ready: the stream is dropped, and so reset.
        limit.as_mut().poll(cx)
    }
}
