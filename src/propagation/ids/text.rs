use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use super::hex;

/// Text of a known greatest length, written without allocating.
#[derive(Debug)]
pub(in crate::propagation) struct Text {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Text {
    /// Enough for a `traceparent`, a parent and a single `b3` of their greatest lengths, and a
    /// UUID.
    const CAPACITY: usize = 55 + 16 + 68 + 36;
    const BUFFER: usize = 1024;

    pub(in crate::propagation) const fn new() -> Self {
        Self {
            bytes: [0; Self::CAPACITY],
            length: 0,
        }
    }

    pub(in crate::propagation) const fn len(&self) -> usize {
        self.length
    }

    /// Appends a text; what would not fit is left out.
    pub(in crate::propagation) fn push(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text);
            self.length = end;
        }
    }

    /// Appends bytes as lower-case hex.
    pub(in crate::propagation) fn push_hex<const N: usize>(&mut self, bytes: [u8; N]) {
        let end = self.length + 2 * N;
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            hex::write(bytes, room);
            self.length = end;
        }
    }

    /// The text for header values to be cut from.
    ///
    /// The texts of a thread follow each other in one buffer, which is used again once the requests
    /// are over whose headers lie in it: an allocation for many texts, or for none. One that lives
    /// on keeps no more than the [`BUFFER`](Self::BUFFER) alive.
    pub(in crate::propagation) fn freeze(&self) -> Bytes {
        thread_local! {
            static TEXTS: Cell<BytesMut> = Cell::new(BytesMut::new());
        }
        let text = self.bytes.get(..self.length).unwrap_or_default();
        let shared = TEXTS.try_with(|texts| {
            let mut buffer = texts.take();
            // Taken again early, while no other text of this request lies in it: a request has two
            // at most: the id that came, marked, and its trace.
            if !buffer.try_reclaim(2 * Self::CAPACITY) && buffer.capacity() < text.len() {
                buffer.reserve(Self::BUFFER);
            }
            buffer.extend_from_slice(text);
            let text = buffer.split().freeze();
            texts.set(buffer);
            text
        });
        // A thread that ends has no buffer any more.
        shared.unwrap_or_else(|_| Bytes::copy_from_slice(text))
    }
}
