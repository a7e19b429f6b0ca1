//! Learns of connections that are refused.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls::reason::Reason;

/// A function that learns of each connection that a listener refuses, if there is one. It runs in
/// the task of the handshake.
#[derive(Clone, Default)]
pub(crate) struct RefusalObserver(Option<Arc<Observe>>);

type Observe = dyn Fn(SocketAddr, Reason) + Send + Sync;

impl RefusalObserver {
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    pub(crate) fn new(observe: impl Fn(SocketAddr, Reason) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    pub(super) fn refused(&self, remote: SocketAddr, reason: Reason) {
        if let Some(observe) = &self.0 {
            observe(remote, reason);
        }
    }
}

debug_fields!(RefusalObserver {});
