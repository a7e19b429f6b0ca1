use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use crate::message::ByteCount;

/// How long a call may wait for the head of its response.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// What the mesh has for all calls, if anything.
    Usual,
    /// This long, whatever the call is.
    Exactly(Duration),
    Unbounded,
}

/// The clock of one call, from the first poll of its future until the response head is there.
///
/// The usual bound begins anew while the body of the request still moves, so that it cuts no upload
/// that goes on; one that stops is cut after once to twice that time. Envoy, too, starts its timeout
/// when the whole request is there.
#[pin_project]
#[derive(Debug)]
pub(super) struct HeadTimeout {
    after: Option<Duration>,
    /// The body whose progress counts, and how much of it had been sent when the clock was started.
    upload: Option<(ByteCount, u64)>,
    #[pin]
    running: Option<Sleep>,
}

impl HeadTimeout {
    pub(super) fn never() -> Self {
        Self::new(None, None)
    }

    pub(super) fn after(time: Duration) -> Self {
        Self::new(Some(time), None)
    }

    /// For as long as nothing of this body has moved.
    pub(super) fn after_upload(time: Duration, sent: ByteCount) -> Self {
        Self::new(Some(time), Some((sent, 0)))
    }

    fn new(after: Option<Duration>, upload: Option<(ByteCount, u64)>) -> Self {
        Self {
            after,
            upload,
            running: None,
        }
    }

    /// Ready, with how long that was, once the time is over.
    pub(super) fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
        let mut this = self.project();
        let Some(after) = *this.after else {
            return Poll::Pending;
        };
        loop {
            if this.running.is_none() {
                // Made here, as a call may be described where no runtime is.
                this.running.set(Some(sleep(after)));
            }
            let Some(running) = this.running.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            ready!(running.poll(cx));
            match this.upload {
                Some((sent, before)) if sent.bytes() != *before => *before = sent.bytes(),
                _ => return Poll::Ready(after),
            }
            this.running.set(None);
        }
    }
}
