//! The request body that a server hands to its service, with a bound on the client's pauses.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use crate::context::QuietPlace;
use crate::tls::TimeLimit;

/// The body of a request that a server received. It ends in an error when the client stops sending
/// it ([`HttpLimits::body_idle`](crate::mesh::HttpLimits::body_idle)).
#[pin_project]
pub struct ServedBody<B = Incoming> {
    #[pin]
    inner: B,
    /// How long the next frame may take; `None` without a bound.
    idle: Option<Duration>,
    /// The place of a body that may be silent, until its end.
    quiet: Option<QuietPlace>,
    /// Runs while the application waits for a frame: one allocation for a body that is not there
    /// yet.
    limit: TimeLimit,
}

impl<B> ServedBody<B> {
    pub(in crate::mesh) fn bounded(inner: B, idle: Duration) -> Self {
        Self {
            idle: Some(idle),
            ..Self::unbounded(inner)
        }
    }

    pub(in crate::mesh) fn quiet(inner: B, place: QuietPlace) -> Self {
        Self {
            quiet: Some(place),
            ..Self::unbounded(inner)
        }
    }

    pub(in crate::mesh) fn unbounded(inner: B) -> Self {
        Self {
            inner,
            idle: None,
            quiet: None,
            limit: TimeLimit::default(),
        }
    }
}

impl<B> Body for ServedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            this.limit.renew();
            if frame.is_none() {
                *this.quiet = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(idle) = *this.idle else {
            return Poll::Pending;
        };
        ready!(this.limit.poll(idle, cx));
        this.limit.renew();
        let text = "the client stopped sending the body";
        let error = io::Error::new(io::ErrorKind::TimedOut, text);
        Poll::Ready(Some(Err(error.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for ServedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBody").finish_non_exhaustive()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
