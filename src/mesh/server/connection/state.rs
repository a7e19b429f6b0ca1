//! What the parts of one served connection know of one another.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::context::{Ending, Peer};

/// The state that the parts of a connection share: its I/O, its service, and its drain controller.
///
/// It counts requests beside the peer's [`Activity`](crate::context::Activity), which applications
/// may write, too: a mistake there must not move the limits that are kept here.
#[derive(Debug)]
pub(in crate::mesh) struct ConnectionState {
    pub(in crate::mesh) peer: Peer,
    /// Whether it is ending; HTTP/1 responses then say `connection: close`.
    ending: AtomicBool,
    /// Whether a request asked for an upgrade: when HTTP ends, hyper then hands over the
    /// connection, whatever the response was.
    asked_for_upgrade: AtomicBool,
    /// Set when a response has upgraded the connection.
    tunnel: OnceLock<Tunnel>,
    /// Whether the client has sent HTTP/2's preface.
    http2: AtomicBool,
    /// How many requests have begun; wraps.
    begun: AtomicU32,
    /// How many requests have begun and not ended; an upgraded connection is one of them.
    open: AtomicUsize,
}

/// An upgraded connection. The application has it, and the drain controller can only cut it.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Tunnel {
    pub(in crate::mesh) cut: CancellationToken,
    pub(in crate::mesh) gone: CancellationToken,
}

impl ConnectionState {
    pub(in crate::mesh) fn new(peer: Peer) -> Self {
        peer.activity().watch_ending();
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

    /// Notes why the connection ends, for the requests that end with it.
    pub(in crate::mesh) fn ends(&self, ending: Ending) {
        self.peer.activity().ends(ending);
    }

    pub(in crate::mesh) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Marks the connection as upgraded. It counts as a request under way until it is dropped.
    pub(in crate::mesh) fn upgrade(&self) -> &Tunnel {
        self.tunnel.get_or_init(|| {
            self.begin();
            Tunnel::default()
        })
    }

    pub(in crate::mesh) fn ask_for_upgrade(&self) {
        self.asked_for_upgrade.store(true, Ordering::Relaxed);
    }

    /// Cuts what hyper hands over after a refused upgrade, so that the application can neither read
    /// nor write it.
    pub(in crate::mesh) fn refuse_upgrade(&self) {
        if self.asked_for_upgrade.load(Ordering::Relaxed) {
            self.upgrade().cut.cancel();
        }
    }

    pub(in crate::mesh) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get()
    }

    /// The connection was dropped: ends an upgraded one.
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
