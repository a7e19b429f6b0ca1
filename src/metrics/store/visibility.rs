use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Whether the labels that a peer's metadata created are shown, and why not. Seconds are by the
/// table's clock.
#[derive(Debug)]
pub(in crate::metrics) struct Visibility {
    state: AtomicU8,
    last_seen: AtomicU64,
    is_accepted: AtomicBool,
}

/// What a scrape does with the counts of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Shown,
    /// They belong to the base of the peer's name.
    Folded,
    /// They are kept and no longer shown.
    Retired,
}

impl Visibility {
    /// Shown from now on.
    pub(in crate::metrics) const fn new(now: u64) -> Self {
        Self {
            state: AtomicU8::new(SHOWN),
            last_seen: AtomicU64::new(now),
            is_accepted: AtomicBool::new(false),
        }
    }

    pub(in crate::metrics) fn is_shown(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SHOWN
    }

    /// Retires it if it is old and came only with refused requests. Returns what it then is.
    pub(super) fn settle(&self, now: u64) -> State {
        match self.state.load(Ordering::Relaxed) {
            FOLDED => State::Folded,
            SHOWN if !self.is_idle(now) || self.is_accepted.load(Ordering::Relaxed) => State::Shown,
            SHOWN => {
                self.retire();
                State::Retired
            }
            _ => State::Retired,
        }
    }

    pub(in crate::metrics) fn show(&self, now: u64) {
        self.state.store(SHOWN, Ordering::Relaxed);
        self.touch(now);
    }

    /// Hides it; what it counted and will count goes to the base of the peer's name.
    pub(in crate::metrics) fn fold(&self) {
        self.state.store(FOLDED, Ordering::Relaxed);
    }

    /// Hides it with its counts, which would look like load if they were moved.
    pub(in crate::metrics) fn retire(&self) {
        self.state.store(RETIRED, Ordering::Relaxed);
    }

    /// The peer sent it again. Writes only if the second is another, because all threads read this.
    pub(in crate::metrics) fn touch(&self, now: u64) {
        if self.last_seen.load(Ordering::Relaxed) < now {
            self.last_seen.store(now, Ordering::Relaxed);
        }
    }

    /// Whether it was not sent for so long that it can go.
    pub(in crate::metrics) fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.last_seen.load(Ordering::Relaxed)) >= IDLE_SECONDS
    }

    /// A request that sent it was let in.
    pub(in crate::metrics) fn accept(&self) {
        if !self.is_accepted.load(Ordering::Relaxed) {
            self.is_accepted.store(true, Ordering::Relaxed);
        }
    }
}

const SHOWN: u8 = 0;
const FOLDED: u8 = 1;
const RETIRED: u8 = 2;

/// After how many seconds a description is idle.
pub(in crate::metrics) const IDLE_SECONDS: u64 = 3600;
