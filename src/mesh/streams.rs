use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// What a connection's parts know of one another: the bytes, the requests on it, and whoever ends it.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// It should end: HTTP/1 responses say so.
    ending: AtomicBool,
    /// HTTP/1 has ended on it, and something else goes on.
    upgraded: AtomicBool,
    /// HTTP/2 is spoken on it, as its preface has told.
    http2: AtomicBool,
    /// How many requests have begun, wrapping.
    begun: AtomicU32,
    /// How many have begun and not ended.
    open: AtomicUsize,
}

impl Streams {
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    pub(super) fn speak_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn finish(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
