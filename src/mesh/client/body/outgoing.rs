use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::sync::oneshot;

use super::replay::{KeptBody, Left};

/// The body of an outbound request: nothing, bytes at hand, or any other body.
///
/// One type for all requests lets them share one pool of connections; only a streaming body costs a box.
pub struct ClientBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(Streamed),
    Kept(Box<KeptBody>),
}

pub(in crate::mesh) type Streamed = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl ClientBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// A body that is streamed.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        streamed(body).map_or_else(Self::empty, |body| Self(Kind::Stream(body)))
    }

    /// A body that can be had again: where what is left of it arrives once it is dropped.
    pub(in crate::mesh) fn kept(left: Left) -> (Self, oneshot::Receiver<Left>) {
        let (body, again) = KeptBody::new(left);
        (Self(Kind::Kept(Box::new(body))), again)
    }
}

/// The body in a box, if there is any.
pub(in crate::mesh) fn streamed<B>(body: B) -> Option<Streamed>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    (!body.is_end_stream()).then(|| Box::pin(MapError(body)) as Streamed)
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
            Kind::Kept(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Kept(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Stream(body) => body.size_hint(),
            Kind::Kept(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}

/// A body whose errors are boxed.
#[pin_project]
struct MapError<B>(#[pin] B);

impl<B> Body for MapError<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.project().0.poll_frame(cx);
        frame.map(|frame| frame.map(|result| result.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
