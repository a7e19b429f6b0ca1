//! Counters of connections and rotations, and their public readers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares public methods that read counters. Each method has the name of an `AtomicU64` field.
///
/// ```text
/// impl HandshakeStats {
///     readers! {
///         /// The accepted connections that speak TLS.
///         handshakes,
///     }
/// }
/// ```
///
/// This declares `pub fn handshakes(&self) -> u64`, which loads the field `handshakes`.
macro_rules! readers {
    ($($(#[$on_reader:meta])* $counter:ident,)+) => {
        $(
            $(#[$on_reader])*
            #[must_use]
            pub fn $counter(&self) -> u64 {
                self.$counter.load(std::sync::atomic::Ordering::Relaxed)
            }
        )+
    };
}

pub(super) use readers;

/// One counter for each of `N` reasons, by the reason's index.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counters<N> {
    pub(super) fn add_one(&self, index: usize) {
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        let counter = self.0.get(index);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
