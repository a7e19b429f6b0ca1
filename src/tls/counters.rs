use std::sync::atomic::{AtomicU64, Ordering};

/// The public readers of counters, each of which has the name of its field.
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
