//! The body of a request on its way out.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::replay::{ReplayBody, Unsent};
use super::streamed::{BoxError, Streamed, streamed};

/// The body of an outbound request: empty, bytes in memory, or any other body as a stream.
///
/// All requests use this one type, so they share one pool of connections. Only a streamed body is
/// boxed.
pub struct ClientBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(Streamed),
    Replay(Box<ReplayBody>),
}

impl ClientBody {
    /// An empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// A body that is streamed and can be sent only once.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        streamed(body).map_or_else(Self::empty, |body| Self(Kind::Stream(body)))
    }

    /// A body that can be sent again. The receiver gets the unsent part when the body is dropped.
    pub(in crate::mesh) fn replay(unsent: Unsent) -> (Self, oneshot::Receiver<Unsent>) {
        let (body, again) = ReplayBody::new(unsent);
        (Self(Kind::Replay(Box::new(body))), again)
    }
}

impl<T: Into<Bytes>> From<T> for ClientBody {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self(Kind::Whole((!bytes.is_empty()).then_some(bytes)))
    }
}

impl Default for ClientBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx),
            Kind::Replay(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Replay(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Stream(body) => body.size_hint(),
            Kind::Replay(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}
