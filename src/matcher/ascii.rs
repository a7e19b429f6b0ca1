//! Sets of ASCII bytes, for texts that every request brings.

/// A set of ASCII bytes, as a table: a look into it is cheaper than a shift of bits, and each
/// request makes some forty of them.
#[derive(Debug)]
pub(super) struct AsciiSet([bool; 256]);

impl AsciiSet {
    pub(super) const EMPTY: Self = Self([false; 256]);

    /// The set with this byte, too; a byte beyond ASCII is not added.
    pub(super) const fn with(mut self, byte: u8) -> Self {
        if let (_, [is_in, ..]) = self.0.split_at_mut(byte as usize) {
            *is_in = byte.is_ascii();
        }
        self
    }

    pub(super) const fn has(&self, byte: u8) -> bool {
        // There is a place for every byte, so this compiles to one look.
        match self.0.split_at_checked(byte as usize) {
            Some((_, [is_in, ..])) => *is_in,
            _ => false,
        }
    }
}
