use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a connection of a pool should take no further request.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Ends(AtomicBool);

impl Ends {
    /// What every call asks.
    pub(in crate::mesh) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(in crate::mesh) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
