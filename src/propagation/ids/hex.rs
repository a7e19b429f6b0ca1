use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// Reads exactly `2 * N` lower-case hex digits.
pub(in crate::propagation) fn lower<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    read(digits, |digit| digit)
}

/// Reads exactly `2 * N` hex digits of either case.
pub(in crate::propagation) fn any_case<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    // Sets the bit that makes letters lower-case; no other byte becomes a letter of hex by it.
    read(
        digits,
        |digit| if digit > b'9' { digit | 0x20 } else { digit },
    )
}

/// All digits are read before any is judged, and before any two are put together, so that the loops have no branch and become few
/// instructions over many digits at once.
fn read<const N: usize>(digits: &[u8], fold: impl Fn(u8) -> u8) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let nibbles = pairs.map(|pair| pair.map(|digit| nibble(fold(digit))));
    let bad = nibbles
        .as_flattened()
        .iter()
        .fold(0, |bad, nibble| bad | nibble);
    (bad < 0x10).then(|| nibbles.map(|[high, low]| high << 4 | low))
}

/// The value of a lower-case hex digit; 0xff for any other byte.
const fn nibble(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    let letter = if letter < 6 { letter + 10 } else { 0xff };
    if number < 10 { number } else { letter }
}

/// Text of a known greatest length, written without allocating.
#[derive(Debug)]
pub(in crate::propagation) struct Text {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Text {
    /// Enough for a `traceparent`, a parent and a single `b3` of their greatest lengths, or a UUID.
    const CAPACITY: usize = 55 + 16 + 68;
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
        let room = self.bytes.get_mut(self.length..self.length + 2 * N);
        let Some((pairs, [])) = room.map(<[u8]>::as_chunks_mut::<2>) else {
            return;
        };
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = [digit(byte >> 4), digit(byte & 0x0f)];
        }
        self.length += 2 * N;
    }

    /// The text for header values to be cut from.
    ///
    /// The texts of a thread follow each other in one buffer, which is used again once the requests are over whose headers lie in it:
    /// an allocation for many texts, or for none. One that lives on keeps no more than the [`BUFFER`](Self::BUFFER) alive.
    pub(in crate::propagation) fn freeze(self) -> Bytes {
        thread_local! {
            static TEXTS: Cell<BytesMut> = Cell::new(BytesMut::new());
        }
        let text = self.bytes.get(..self.length).unwrap_or_default();
        let shared = TEXTS.try_with(|texts| {
            let mut buffer = texts.take();
            // Taken again early, while no other text of this request lies in it: a request has two at most, its id and its trace.
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

const fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}
