//! Boxes any body, so that bodies of different types share one type.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// Any body, boxed.
pub(in crate::mesh) type Streamed = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

pub(in crate::mesh) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Boxes the body; `None` if it is empty.
pub(in crate::mesh) fn streamed<B>(body: B) -> Option<Streamed>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    (!body.is_end_stream()).then(|| Box::pin(MapError(body)) as Streamed)
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
