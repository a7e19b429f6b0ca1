use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

/// The body of a request that [`Mesh::serve`](crate::Mesh::serve) received: ends in an error when the client stops sending it
/// ([`HttpLimits::body_idle`](super::HttpLimits::body_idle)).
#[pin_project]
pub struct ServedBody {
    #[pin]
    inner: Incoming,
    /// For the next piece; without one for gRPC.
    idle: Option<Duration>,
    /// While the application waits. Its box is one allocation of a body that is not at hand.
    limit: Option<Pin<Box<Sleep>>>,
}

impl ServedBody {
    pub(super) fn new(inner: Incoming, idle: Option<Duration>) -> Self {
        Self {
            inner,
            idle,
            limit: None,
        }
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            *this.limit = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(idle) = *this.idle else {
            return Poll::Pending;
        };
        let limit = this.limit.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(limit.as_mut().poll(cx));
        *this.limit = None;
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

impl fmt::Debug for ServedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBody").finish_non_exhaustive()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
