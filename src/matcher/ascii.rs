//! Sets of ASCII bytes, for texts that every request brings.

/// A set of ASCII bytes: one bit for each, in two halves, because a shift of all 128 bits takes
/// several times as long.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsciiSet([u64; 2]);

impl AsciiSet {
    pub(super) const EMPTY: Self = Self([0; 2]);

    /// The set with this byte, too.
    pub(super) const fn with(self, byte: u8) -> Self {
        let Self([low, high]) = self;
        match byte {
            0..64 => Self([low | 1_u64 << byte, high]),
            64..128 => Self([low, high | 1_u64 << (byte - 64)]),
            _ => self,
        }
    }

    pub(super) fn has(self, byte: u8) -> bool {
        let Self([low, high]) = self;
        let half = if byte < 64 { low } else { high };
        byte.is_ascii() && half >> (byte & 63) & 1 == 1
    }
}
