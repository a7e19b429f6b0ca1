//! Why a connection ends while requests are under way on it.
//!
//! What is dropped cannot say why. So whoever ends a connection notes the reason first, and the
//! record of each request that is dropped with it reads it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why a connection ends, or a stream of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only a mesh watches its connections")
)]
pub(crate) enum Ending {
    /// Nobody watches this connection.
    Unwatched = 0,
    /// It does not end: a request that is dropped on it was reset by itself.
    Open = 1,
    /// The client has closed it, or it broke.
    Left = 2,
    /// The client took too long.
    Slow = 3,
    /// Its time was over.
    Aged = 4,
    /// The client broke the protocol.
    Broken = 5,
}

/// The first reason of a connection.
#[derive(Debug, Default)]
pub(super) struct FirstEnding(AtomicU8);

impl FirstEnding {
    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn watch(&self) {
        let (from, to) = (Ending::Unwatched as u8, Ending::Open as u8);
        let order = Ordering::Relaxed;
        let _ = self.0.compare_exchange(from, to, order, order);
    }

    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn set(&self, ending: Ending) {
        let (from, order) = (Ending::Open as u8, Ordering::Relaxed);
        let _ = self.0.compare_exchange(from, ending as u8, order, order);
    }

    pub(super) fn get(&self) -> Ending {
        if STREAM_IS_SLOW.try_with(Cell::get).unwrap_or_default() {
            return Ending::Slow;
        }
        match self.0.load(Ordering::Relaxed) {
            1 => Ending::Open,
            2 => Ending::Left,
            3 => Ending::Slow,
            4 => Ending::Aged,
            5 => Ending::Broken,
            _ => Ending::Unwatched,
        }
    }
}

/// Drops a stream whose client took too long.
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) fn drop_slow_stream(drop: impl FnOnce()) {
    /// Also where the drop panics, or all that this thread drops later would count as slow.
    struct Unset;
    impl Drop for Unset {
        fn drop(&mut self) {
            STREAM_IS_SLOW.set(false);
        }
    }
    STREAM_IS_SLOW.set(true);
    let _unset = Unset;
    drop();
}

thread_local! {
    static STREAM_IS_SLOW: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(feature = "server", feature = "client"))]
    fn a_panic_in_a_slow_stream_marks_no_other() {
        let dropped = std::panic::catch_unwind(|| {
            drop_slow_stream(|| panic!("the body of an application panics in its drop"));
        });
        assert!(dropped.is_err());
        assert!(!STREAM_IS_SLOW.get());
    }
}
