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
    /// The server of the first attempt, before it has a connection and with one. Few calls have
    /// another attempt, and each has a cell that costs next to nothing.
    begun: OnceLock<Option<Arc<CalledServer>>>,
    reached: OnceLock<Option<Arc<CalledServer>>>,
    /// The server of the last of several attempts.
    last: OnceLock<Box<ArcSwapOption<CalledServer>>>,
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
        match self.attempts.fetch_add(1, Ordering::Relaxed) {
            0 => drop(self.begun.set(server)),
            _ => self.last.get_or_init(Box::default).store(server),
        }
    }

    /// The attempt has a connection to this server.
    pub(crate) fn reached(&self, server: Option<Arc<CalledServer>>) {
        match self.last.get() {
            None => drop(self.reached.set(server)),
            Some(last) => last.store(server),
        }
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
        match self.last.get() {
            None => self.reached.get().or_else(|| self.begun.get())?.clone(),
            Some(last) => last.load_full(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Option<Arc<CalledServer>> {
        Some(Arc::new(CalledServer {
            remote: SocketAddr::from(([127, 0, 0, 1], port)),
            local: None,
            version: None,
            peer: None,
        }))
    }

    #[test]
    fn the_server_is_that_of_the_last_attempt() {
        let progress = CallProgress::default();
        let port = || progress.server().map(|server| server.remote.port());
        assert_eq!((port(), progress.attempts()), (None, 0));
        progress.begins(server(1));
        assert_eq!((port(), progress.attempts()), (Some(1), 1));
        progress.reached(server(2));
        assert_eq!((port(), progress.attempts()), (Some(2), 1));
        progress.begins(None);
        assert_eq!((port(), progress.attempts()), (None, 2));
        progress.reached(server(3));
        assert_eq!((port(), progress.attempts()), (Some(3), 2));
        progress.begins(server(4));
        assert_eq!((port(), progress.attempts()), (Some(4), 3));
    }
}
