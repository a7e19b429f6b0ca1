//! How far a call has come, for what is reported of it where no response says so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::Version;

use super::ResponseFlags;
use crate::context::Peer;

/// How far a call has come. Its attempts write it, and its record reads it at the end: a call that
/// breaks, takes too long or is dropped has no response that names its server.
#[derive(Debug, Default)]
pub(crate) struct CallProgress {
    attempts: AtomicU32,
    server: ArcSwapOption<CalledServer>,
    /// How the body of the response broke, in Envoy's words.
    broken: OnceLock<(ResponseFlags, &'static str)>,
    failure: OnceLock<CallFailure>,
}

/// Why a call got no response.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFailure {
    /// Envoy's response code details.
    pub(crate) details: Box<str>,
    /// Why no connection could be made.
    pub(crate) transport: Option<Box<str>>,
    /// The address that was tried last.
    pub(crate) address: Option<SocketAddr>,
}

/// The server that an attempt goes to. Made once for each endpoint and for each connection.
#[derive(Clone, Debug)]
pub(crate) struct CalledServer {
    pub(crate) remote: SocketAddr,
    /// Our end; `None` before there is a connection.
    pub(crate) local: Option<SocketAddr>,
    /// What is spoken; `None` before there is a connection.
    pub(crate) version: Option<Version>,
    /// Who answers there; `None` before the handshake, and outside the mesh.
    pub(crate) peer: Option<Peer>,
}

impl CallProgress {
    /// An attempt begins at this server; `None` if its address is not known yet.
    pub(crate) fn begins(&self, server: Option<Arc<CalledServer>>) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.server.store(server);
    }

    /// The attempt has a connection to this server.
    pub(crate) fn reached(&self, server: Option<Arc<CalledServer>>) {
        self.server.store(server);
    }

    /// The body of the response broke: the flag, and Envoy's response code details.
    pub(crate) fn breaks(&self, flag: ResponseFlags, details: &'static str) {
        let _ = self.broken.set((flag, details));
    }

    /// How the body of the response broke.
    pub(crate) fn broken(&self) -> Option<(ResponseFlags, &'static str)> {
        self.broken.get().copied()
    }

    /// There will be no response, for this reason.
    pub(crate) fn fails(&self, failure: CallFailure) {
        let _ = self.failure.set(failure);
    }

    /// Why there was no response.
    pub(crate) fn failure(&self) -> Option<&CallFailure> {
        self.failure.get()
    }

    /// How often the call was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The server of the last attempt.
    pub(crate) fn server(&self) -> Option<Arc<CalledServer>> {
        self.server.load_full()
    }
}
