use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a connection of a pool should take no further request.
#[derive(Debug, Default)]
pub(super) struct Ends(AtomicBool);

impl Ends {
    /// What every call asks.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
