//! Sets of ASCII bytes, for texts that every request brings.

/// Whether a byte is in a set of ASCII bytes, which has one bit for each.
pub(super) fn is_in(set: u128, byte: u8) -> bool {
    // Half of the set is shifted: twice as wide a shift takes several times as long.
    let half = if byte < 64 { set } else { set >> 64 };
    byte.is_ascii() && (half as u64) >> (byte & 63) & 1 == 1
}
