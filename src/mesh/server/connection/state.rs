use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::context::Peer;

/// What a connection's parts know of one another: the bytes, the requests on it, and whoever ends it.
#[derive(Debug)]
pub(in crate::mesh) struct ConnectionState {
    pub(in crate::mesh) peer: Peer,
    /// It should end: HTTP/1 responses say so.
    ending: AtomicBool,
    /// A request asked for another protocol: hyper then hands the connection over when HTTP ends on it, however the request was answered.
    asked_for_upgrade: AtomicBool,
    /// HTTP/1 has ended on it, and something else goes on.
    tunnel: OnceLock<Tunnel>,
    /// HTTP/2 is spoken on it, as its preface has told.
    http2: AtomicBool,
    /// How many requests have begun, wrapping.
    begun: AtomicU32,
    /// How many have begun and not ended.
    open: AtomicUsize,
}

/// A connection that was upgraded: the application has it, and whoever watches over it can only cut it.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Tunnel {
    pub(in crate::mesh) cut: CancellationToken,
    pub(in crate::mesh) gone: CancellationToken,
}

impl ConnectionState {
    pub(in crate::mesh) fn new(peer: Peer) -> Self {
        Self {
            peer,
            ending: AtomicBool::new(false),
            asked_for_upgrade: AtomicBool::new(false),
            tunnel: OnceLock::new(),
            http2: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            open: AtomicUsize::new(0),
        }
    }

    pub(in crate::mesh) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(in crate::mesh) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// What goes on after an upgrade is under way until the connection is dropped.
    pub(in crate::mesh) fn upgrade(&self) -> &Tunnel {
        self.tunnel.get_or_init(|| {
            self.begin();
            Tunnel::default()
        })
    }

    pub(in crate::mesh) fn ask_for_upgrade(&self) {
        self.asked_for_upgrade.store(true, Ordering::Relaxed);
    }

    /// HTTP has ended and left nothing: whoever gets the connection of hyper all the same can do nothing with it.
    pub(in crate::mesh) fn refuse_upgrade(&self) {
        if self.asked_for_upgrade.load(Ordering::Relaxed) {
            self.upgrade().cut.cancel();
        }
    }

    pub(in crate::mesh) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get()
    }

    /// The connection was dropped.
    pub(in crate::mesh) fn drop_tunnel(&self) {
        if let Some(tunnel) = self.tunnel() {
            self.finish();
            tunnel.gone.cancel();
        }
    }

    pub(in crate::mesh) fn speak_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(in crate::mesh) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    pub(in crate::mesh) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::mesh) fn finish(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(in crate::mesh) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(in crate::mesh) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
