//! Bounds how long a call waits for the head of its response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderMap;
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::deadline::TimeLeft;
use crate::message::{ByteCount, CountingBody, grpc_timeout};

/// The bound of one call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// The mesh's setting for all calls, if it has one.
    Usual,
    /// Exactly this long.
    Exactly(Duration),
    Unbounded,
    /// As long as the guard waits that asks. Such a call is made over the version of HTTP that it
    /// has: its headers may be a caller's, and must not choose another one.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    OfGuard,
}

impl Bound {
    /// Whether a call is made over HTTP/2 because its content type says that it is gRPC.
    pub(super) fn reads_content_type(self) -> bool {
        match self {
            Self::Usual | Self::Exactly(_) | Self::Unbounded => true,
            #[cfg(any(feature = "external", feature = "rate-limit-service"))]
            Self::OfGuard => false,
        }
    }

    /// The time that the call itself has set.
    pub(super) fn exactly(self) -> Option<Duration> {
        match self {
            Self::Exactly(time) => Some(time),
            _ => None,
        }
    }

    /// Whether the time of the request for which it is made bounds the call, too.
    pub(super) fn inherits_deadline(self) -> bool {
        match self {
            Self::Usual | Self::Exactly(_) | Self::Unbounded => true,
            #[cfg(any(feature = "external", feature = "rate-limit-service"))]
            Self::OfGuard => false,
        }
    }
}

/// A timeout that has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) after: Duration,
    /// Whether it was the deadline of a gRPC call: its own, or that of its request.
    #[cfg_attr(
        not(feature = "tonic"),
        expect(dead_code, reason = "for tonic's clients")
    )]
    pub(super) is_deadline: bool,
}

/// The clock of one call: from the first poll of its future until the response head arrives.
///
/// The usual bound restarts while the request body still makes progress, so a slow upload is not
/// cut. A stalled upload is cut after one to two times the bound. Envoy also starts its timeout
/// only when it has received the whole request. The time of the request for which the call is made
/// does not restart.
#[pin_project]
#[derive(Debug)]
pub(super) struct HeadTimeout {
    after: Option<Duration>,
    is_deadline: bool,
    /// The body whose progress counts, and how many of its bytes had been sent when the clock last
    /// started.
    upload: Option<(ByteCount, u64)>,
    /// The time of the request for which the call is made, and whether the call is gRPC.
    request: Option<(TimeLeft, bool)>,
    #[pin]
    running: Option<Sleep>,
}

impl HeadTimeout {
    /// The clock for a call with this body; `usual` is the mesh's own bound.
    pub(super) fn of_call<B: Body>(
        bound: Bound,
        usual: Option<Duration>,
        headers: &HeaderMap,
        body: &CountingBody<B>,
        sent: &ByteCount,
    ) -> Self {
        let usual = match bound {
            Bound::Exactly(time) => return Self::after(time),
            Bound::Unbounded => None,
            #[cfg(any(feature = "external", feature = "rate-limit-service"))]
            Bound::OfGuard => None,
            // A gRPC stream may send its head together with a first message that takes long.
            Bound::Usual if body.is_grpc() => {
                return Self::deadline(headers);
            }
            Bound::Usual => usual,
        };
        let Some(time) = usual else {
            return Self::never();
        };
        let size = body.size_hint().exact();
        if size.is_some_and(|size| size <= AT_ONCE) {
            Self::after(time)
        } else {
            Self::after_upload(time, sent.clone())
        }
    }

    /// The same clock, which also ends with the time of the request for which the call is made.
    pub(super) fn within(mut self, left: Option<TimeLeft>, is_grpc: bool) -> Self {
        self.request = left.map(|left| (left, is_grpc));
        self
    }

    fn never() -> Self {
        Self::new(None, None)
    }

    fn after(time: Duration) -> Self {
        Self::new(Some(time), None)
    }

    /// The deadline that a gRPC call names, if it names one.
    fn deadline(headers: &HeaderMap) -> Self {
        let mut timeout = Self::new(grpc_timeout(headers), None);
        timeout.is_deadline = true;
        timeout
    }

    /// A clock that restarts whenever this body has made progress.
    fn after_upload(time: Duration, sent: ByteCount) -> Self {
        Self::new(Some(time), Some((sent, 0)))
    }

    fn new(after: Option<Duration>, upload: Option<(ByteCount, u64)>) -> Self {
        Self {
            after,
            is_deadline: false,
            upload,
            request: None,
            running: None,
        }
    }

    /// Ready once the time has passed.
    pub(super) fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over> {
        let mut this = self.project();
        loop {
            if this.running.is_none() {
                // The timer is made here because a call may be described outside a runtime.
                let own = this.after.map(|after| Instant::now().checked_add(after));
                let own = own.flatten();
                let inherited = this.request.map(|(request, _)| request.ends);
                let Some(ends) = own.into_iter().chain(inherited).min() else {
                    return Poll::Pending;
                };
                this.running.set(Some(sleep_until(ends)));
            }
            let Some(running) = this.running.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            ready!(running.poll(cx));
            if let Some((request, is_deadline)) = *this.request
                && request.ends <= Instant::now()
            {
                let after = request.left;
                return Poll::Ready(Over { after, is_deadline });
            }
            match (&mut *this.upload, *this.after) {
                (Some((sent, before)), _) if sent.bytes() != *before => *before = sent.bytes(),
                (_, Some(after)) => {
                    let is_deadline = *this.is_deadline;
                    return Poll::Ready(Over { after, is_deadline });
                }
                (_, None) => {}
            }
            this.running.set(None);
        }
    }
}

/// A body up to this many bytes counts as sent at once. Progress counts only for a larger body.
const AT_ONCE: u64 = 64 * 1024;
