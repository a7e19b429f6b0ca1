//! The beginning of a body that was read before its reader got it.

use std::any::Any;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;

/// The frames that were read, for the reader to come.
///
/// Small frames of [`Bytes`] are merged: a caller may send a body byte by byte, and each frame would
/// take many times its size.
#[derive(Debug)]
pub(super) struct ReadAhead<D> {
    frames: VecDeque<Frame<D>>,
    /// Small frames at the end, not among `frames` yet.
    small: BytesMut,
    /// The number of bytes in both.
    bytes: usize,
    has_ended: bool,
}

impl<D> Default for ReadAhead<D> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            small: BytesMut::new(),
            bytes: 0,
            has_ended: false,
        }
    }
}

impl<D: Buf> ReadAhead<D> {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the end of the body was read.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The number of bytes that the reader still gets from here.
    pub(super) const fn left(&self) -> usize {
        self.bytes
    }

    pub(super) fn pop(&mut self) -> Option<Frame<D>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.data_ref().map_or(0, Buf::remaining);
        Some(frame)
    }
}

impl<D: Buf + 'static> ReadAhead<D> {
    /// Keeps a frame; `None` is the end. `false` if it cannot be kept.
    pub(super) fn push(&mut self, frame: Option<Frame<D>>) -> bool {
        let Some(frame) = frame else {
            self.has_ended = true;
            return true;
        };
        let data = frame.data_ref();
        self.bytes += data.map_or(0, Buf::remaining);
        let bytes = data.and_then(|data| (data as &dyn Any).downcast_ref::<Bytes>());
        match bytes {
            Some(bytes) if bytes.len() < SMALL => self.small.extend_from_slice(bytes),
            _ => {
                self.flush();
                self.frames.push_back(frame);
            }
        }
        self.frames.len() <= MOST_FRAMES || bytes_are_large(self.bytes, self.frames.len())
    }

    /// The first bytes, so many at most; `None` if a frame is in too many pieces to be read twice.
    /// After this the reader may come.
    pub(super) fn beginning(&mut self, max_bytes: usize) -> Option<Bytes> {
        self.flush();
        let mut all = Vec::with_capacity(self.bytes.min(max_bytes));
        for data in self.frames.iter().filter_map(Frame::data_ref) {
            let mut pieces = [IoSlice::new(&[]); 16];
            let count = data.chunks_vectored(&mut pieces);
            let pieces = pieces.iter().take(count);
            if pieces.clone().map(|piece| piece.len()).sum::<usize>() < data.remaining() {
                return None;
            }
            for piece in pieces {
                let room = max_bytes.saturating_sub(all.len()).min(piece.len());
                all.extend(piece.iter().take(room));
            }
        }
        Some(all.into())
    }

    /// Makes one frame of the small ones.
    fn flush(&mut self) {
        if self.small.is_empty() {
            return;
        }
        // INVARIANT: only bytes are merged, so `D` is `Bytes`.
        let mut merged = Some(self.small.split().freeze());
        let data = (&mut merged as &mut dyn Any).downcast_mut::<Option<D>>();
        let frame = data.and_then(Option::take).map(Frame::data);
        self.frames.extend(frame);
    }
}

/// Whether so many frames are worth their own size.
const fn bytes_are_large(bytes: usize, frames: usize) -> bool {
    bytes / SMALL >= frames / 2
}

/// Frames with fewer bytes are merged.
const SMALL: usize = 1024;

/// So many frames are kept, whatever their size.
const MOST_FRAMES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &[u8]) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::copy_from_slice(data)))
    }

    /// A body of single bytes once took a hundred times its size, and the square of the time.
    #[test]
    fn a_body_of_single_bytes_is_one_frame() {
        let mut read = ReadAhead::default();
        for _ in 0..100_000 {
            assert!(read.push(frame(b"x")));
        }
        assert!(read.push(frame(&[b'y'; SMALL])));
        assert!(read.push(frame(b"z")));
        assert_eq!(read.left(), 100_001 + SMALL);
        assert_eq!(read.beginning(3).unwrap(), "xxx");
        let mut sizes = Vec::new();
        while let Some(frame) = read.pop() {
            sizes.push(frame.into_data().unwrap().len());
        }
        assert_eq!(sizes, [100_000, SMALL, 1]);
        assert_eq!(read.left(), 0);
    }

    /// Data of other types cannot be merged, so their number is bounded.
    #[test]
    fn frames_of_other_types_are_bounded_in_number() {
        let mut read = ReadAhead::<&'static [u8]>::default();
        let kept = (0..10_000).take_while(|_| read.push(Some(Frame::data(b"x"))));
        assert_eq!(kept.count(), MOST_FRAMES);
        let mut read = ReadAhead::<&'static [u8]>::default();
        assert!((0..10_000).all(|_| read.push(Some(Frame::data(&[b'x'; SMALL])))));
    }
}
