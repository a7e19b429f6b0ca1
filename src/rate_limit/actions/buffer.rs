//! A short text that is made without an allocation.

use std::fmt;

use smallvec::SmallVec;

/// Bytes of a value that is put together; only long ones are on the heap.
#[derive(Debug, Default)]
pub(super) struct Buffer(SmallVec<[u8; 128]>);

impl Buffer {
    /// What is written into it.
    pub(super) fn of(text: impl fmt::Display) -> Self {
        let mut buffer = Self::default();
        // A buffer takes everything.
        let _ = fmt::write(&mut buffer, format_args!("{text}"));
        buffer
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds an element of a list, behind a comma unless it is the first.
    pub(super) fn push_element(&mut self, element: &[u8], is_first: bool) {
        if !is_first {
            self.0.push(b',');
        }
        self.push(element);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn make_lower_case(&mut self) {
        self.0.make_ascii_lowercase();
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
