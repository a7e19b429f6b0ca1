//! The beginning of a body that was read before its reader got it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use http_body::Frame;

/// The frames that were read, for the reader to come.
#[derive(Debug)]
pub(super) struct ReadAhead<D> {
    frames: VecDeque<Frame<D>>,
    has_ended: bool,
}

impl<D> Default for ReadAhead<D> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
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
    pub(super) fn left(&self) -> usize {
        self.data().map(Buf::remaining).sum()
    }

    pub(super) fn pop(&mut self) -> Option<Frame<D>> {
        self.frames.pop_front()
    }

    /// Keeps a frame; `None` is the end.
    pub(super) fn push(&mut self, frame: Option<Frame<D>>) {
        match frame {
            Some(frame) => self.frames.push_back(frame),
            None => self.has_ended = true,
        }
    }

    /// The first bytes, so many at most; `None` if a frame is in too many pieces to be read twice.
    pub(super) fn beginning(&self, max_bytes: usize) -> Option<Bytes> {
        let mut all = Vec::with_capacity(self.left().min(max_bytes));
        for data in self.data() {
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

    fn data(&self) -> impl Iterator<Item = &D> {
        self.frames.iter().filter_map(Frame::data_ref)
    }
}
