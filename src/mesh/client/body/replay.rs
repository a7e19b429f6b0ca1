//! A request body that can be sent again after an attempt that the server has not processed.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::streamed::{BoxError, Streamed};

/// A body that keeps what has been read from it until the response arrives, so that the request can
/// be sent again if the server has not processed it.
///
/// When the body is dropped it hands over what was read and what was not. It hands over nothing if
/// more than [`ROOM`] bytes were read, or if reading failed.
pub(in crate::mesh) struct ReplayBody {
    unsent: Unsent,
    /// What has been read, as long as it fits into [`ROOM`].
    read: Vec<Piece>,
    room: usize,
    back: Option<oneshot::Sender<Unsent>>,
}

/// The part of a body that must still be sent.
pub(in crate::mesh) struct Unsent {
    /// Pieces that an earlier attempt has read; they are sent first.
    again: VecDeque<Piece>,
    rest: Option<Streamed>,
}

/// A [`Frame`] that can be cloned and sent again.
#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Unsent {
    pub(in crate::mesh) fn whole(body: Streamed) -> Self {
        Self {
            again: VecDeque::new(),
            rest: Some(body),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BoxError>>> {
        if let Some(piece) = self.again.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(rest.as_mut().poll_frame(cx));
        if frame.is_none() {
            self.rest = None;
        }
        Poll::Ready(frame.map(|frame| frame.map(Piece::of)))
    }
}

impl ReplayBody {
    /// Returns the body, and the receiver that gets its unsent part when the body is dropped.
    pub(in crate::mesh) fn new(unsent: Unsent) -> (Self, oneshot::Receiver<Unsent>) {
        let (back, again) = oneshot::channel();
        let body = Self {
            unsent,
            read: Vec::new(),
            room: ROOM,
            back: Some(back),
        };
        (body, again)
    }

    fn keep(&mut self, piece: &Piece) {
        let room = self.room.checked_sub(piece.len());
        match (&self.back, room) {
            (Some(back), Some(room)) if !back.is_closed() => {
                self.room = room;
                self.read.push(piece.clone());
            }
            _ => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.back = None;
        self.read = Vec::new();
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let piece = ready!(this.unsent.poll(cx));
        match &piece {
            Some(Ok(piece)) => this.keep(piece),
            Some(Err(_)) => this.forget(),
            None => {}
        }
        Poll::Ready(piece.map(|piece| piece.map(Piece::frame)))
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.unsent.rest.as_ref();
        self.unsent.again.is_empty() && rest.is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.unsent.rest.as_ref();
        let rest = rest.map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint());
        let again: u64 = self.unsent.again.iter().map(Piece::bytes).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(again));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(again));
        }
        hint
    }
}

impl Drop for ReplayBody {
    fn drop(&mut self) {
        let Some(back) = self.back.take() else {
            return;
        };
        let mut again: VecDeque<_> = mem::take(&mut self.read).into();
        again.append(&mut self.unsent.again);
        let rest = self.unsent.rest.take();
        // Once there is a response, the receiver is gone; that is no error.
        let _ = back.send(Unsent { again, rest });
    }
}

impl Piece {
    fn of(frame: Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(data) => Self::Data(data),
            Err(frame) => Self::Trailers(frame.into_trailers().unwrap_or_default()),
        }
    }

    fn frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }

    /// How many bytes this piece counts against [`ROOM`].
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len().max(SMALLEST),
            Self::Trailers(trailers) => trailers.len() * SMALLEST,
        }
    }
}

impl fmt::Debug for ReplayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

/// The largest number of bytes that are kept (security rule R-08).
const ROOM: usize = 64 * 1024;
/// The least that one piece counts, so that many tiny pieces cannot exceed the limit unseen.
const SMALLEST: usize = 64;
