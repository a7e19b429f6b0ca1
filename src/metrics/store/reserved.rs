use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for one of a bounded number of series; given back on drop.
pub(super) struct Reserved<'a>(&'a AtomicUsize);

pub(super) fn reserve(used: &AtomicUsize, room: usize) -> Option<Reserved<'_>> {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        (used < room).then_some(used + 1)
    })
    .ok()?;
    Some(Reserved(used))
}

impl Reserved<'_> {
    pub(super) fn keep_if(self, is_used: bool) {
        if is_used {
            std::mem::forget(self);
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
